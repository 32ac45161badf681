// Package echoapi is a small service for the tests of rpi, service and kit.
package echoapi
