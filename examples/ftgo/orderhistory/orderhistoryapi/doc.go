// Package orderhistoryapi is what other services may know of orderhistory: its procedures, commands and events.
package orderhistoryapi
