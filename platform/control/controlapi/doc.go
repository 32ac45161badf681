// Package controlapi is the generated interface of a running system's control
// socket. Package control opens and serves it.
package controlapi
