// Package orderapi is what other services may know of order: its procedures, commands and events.
package orderapi
