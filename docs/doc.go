// Package docs holds the guides beside it. The Go code that they show stands in
// the package's examples, where it is compiled and run; a test compares the two.
package docs
