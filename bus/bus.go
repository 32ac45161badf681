package bus

import (
	"context"
	"iter"

	"github.com/cleave-go/cleave/event"
)

// Bus carries each source's records, in order of position, to its subscribers.
type Bus interface {
	// Publish carries what s records, from where it was left, until ctx ends
	// or something is wrong. Publishing one source twice at a time is safe.
	Publish(ctx context.Context, s Source) error
	// Subscribe yields the messages of one source behind the place after, then
	// waits for more, until ctx ends. Each is yielded at least once and in
	// order of position; a repeated one has a position not above the last.
	Subscribe(ctx context.Context, f Filter, after Place) iter.Seq2[Message, error]
}

// Source is a service's event table as its relay sees it.
type Source interface {
	Name() string // of the service
	Epoch(ctx context.Context) (string, error)
	Head(ctx context.Context) (event.Position, error)
	// Feed yields the records behind after in order of position; live, it
	// waits for more at the head.
	Feed(ctx context.Context, after event.Position, live bool) iter.Seq2[event.Record, error]
}

// Filter says what a subscriber wants of one source.
type Filter struct {
	Source   string   // the service
	Subjects []string // NATS wildcards; empty: all
}

// Place is where a subscriber stands in a source's messages. The zero Place is
// before the first.
type Place struct {
	Epoch    string
	Position event.Position
	Seq      uint64 // in the bus's own stream: a hint that makes resuming cheap
}

// Message is a record as it travels.
type Message struct {
	Subject string
	Source  string
	Place   Place
	event.Record
}
