// Package accountingapi is what other services may know of accounting: its procedures, commands and events.
package accountingapi
