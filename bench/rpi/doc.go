// Command rpi compares a call in the same process with what lies beneath it and with a plain method call, and
// says what tracing and the client's chain add to a call, side by side in one run:
//
//	go run ./bench/rpi
//
// The same calls are ordinary benchmarks, too: go test -bench . ./bench/rpi.
package main
