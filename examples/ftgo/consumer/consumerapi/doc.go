// Package consumerapi is what other services may know of consumer: its procedures, commands and events.
package consumerapi
