// Package watermill runs watermill's universal suite for publishers and
// subscribers against the outbox and the bus. It holds tests only.
package watermill
