// Package feedapi is the call by which services read each other's event tables,
// where the bus does not hold the messages any more.
package feedapi
