//go:build !unix

package messaging

import "os"

// flock does nothing where files cannot be claimed.
func flock(*os.File) error { return nil }
