// Package parity runs the table of calls that no binding of rpi may answer differently over grpc-go's client.
package parity
