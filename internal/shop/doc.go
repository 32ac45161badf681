// Package shop is a small interface of four services for the tests of graphql
// and gateway.
package shop
