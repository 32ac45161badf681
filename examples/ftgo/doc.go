// Package ftgo is the reference application: see the README of the repository
// for the tour, and each service for what it keeps, publishes and consumes.
package ftgo
