// Package sqldb is the one way to a service's own database.
package sqldb
