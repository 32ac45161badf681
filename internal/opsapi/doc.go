// Package opsapi holds what services answer to those who operate them, under
// /ops/<service>/ of the admin listener, and how. cleave's commands read it.
package opsapi
