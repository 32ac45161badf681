// Package kitchenapi is what other services may know of kitchen: its procedures, commands and events.
package kitchenapi
