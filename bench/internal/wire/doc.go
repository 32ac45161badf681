// Package wire measures ways to carry a unary call from one process to another:
// client and server are processes of their own, on loopback, over one
// connection.
package wire
