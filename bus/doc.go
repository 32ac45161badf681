// Package bus carries what services record to the services that follow them.
package bus
