// Package metakey lets a server of rpi keep the metadata of what its handlers
// record in its own context, and make it only when it is asked for.
package metakey

// Key is the key under which a context has its event.Meta, or a value with a
// method Meta() event.Meta.
type Key struct{}
