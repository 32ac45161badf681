//go:build race

package crash_test

func init() { raced = true }
