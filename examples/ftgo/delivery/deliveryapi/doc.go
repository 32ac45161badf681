// Package deliveryapi is what other services may know of delivery: its procedures, commands and events.
package deliveryapi
