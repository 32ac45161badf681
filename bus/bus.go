package bus

import (
	"cmp"
	"context"
	"errors"
	"iter"

	"github.com/cleave-go/cleave/event"
)

// Bus carries each source's records, in order of position, to its subscribers.
type Bus interface {
	// Publish carries what s records, from where it was left, until ctx ends
	// (then it returns nil) or something is wrong; call it again then, unless
	// the error is ErrAhead. Publishing one source twice at a time is safe.
	Publish(ctx context.Context, s Source) error
	// Subscribe yields the messages of one source behind the place after, then
	// waits for more, and ends when ctx ends. Each is yielded at least once and
	// in order of Place. A broker that cannot be reached is waited for; an
	// error is one that waiting does not cure, and the last thing yielded.
	Subscribe(ctx context.Context, f Filter, after Place) iter.Seq2[Message, error]
}

// Source is a service's event table as its relay sees it.
type Source interface {
	Name() string // of the service
	// Epochs returns the incarnations of the table, at least one, in order; the
	// last is the present one.
	Epochs(ctx context.Context) ([]Epoch, error)
	Head(ctx context.Context) (event.Position, error)
	// Feed yields the records behind after in order of position; live, it
	// waits for more at the head, until ctx ends.
	Feed(ctx context.Context, after event.Position, live bool) iter.Seq2[event.Record, error]
}

// Noter is a Source that can note how far it was published. A bus that keeps
// its own copy of the messages asks for the note only when nothing is left of
// that copy, so it may lag behind.
type Noter interface {
	Published(ctx context.Context) (Place, error)
	NotePublished(ctx context.Context, p Place) error
}

// Searcher is a Bus that can say what it holds without a subscription.
// Consumer.Wait uses it, and whoever shows progress.
type Searcher interface {
	// Next returns the position of the first message of f behind after, and
	// false when there is none at or before position until. The error is
	// ErrNotYet when the bus has not come as far as until.
	Next(ctx context.Context, f Filter, after Place, until event.Position) (event.Position, bool, error)
	// Last returns the place of the last message of a source, the zero Place
	// when there is none.
	Last(ctx context.Context, source string) (Place, error)
}

// Filter says what a subscriber wants of one source.
type Filter struct {
	Source   string   // the service
	Subjects []string // NATS wildcards; empty: all
	// Of above 1 lets only the streams through whose event.Stream.Lane, modulo
	// Of, is Lane.
	Lane, Of int
}

// Place is where a subscriber stands in a source's messages. The zero Place is
// before the first.
type Place struct {
	Epoch    string
	Position event.Position
	Seq      uint64 // in the bus's own stream: a hint that makes resuming cheap
}

// Compare returns -1, 0 or 1 as p is before, at or behind q. A later epoch
// comes behind an earlier one: the names of epochs sort by their beginning.
func (p Place) Compare(q Place) int {
	return cmp.Or(cmp.Compare(p.Epoch, q.Epoch), cmp.Compare(p.Position, q.Position))
}

// Message is a record as it travels.
type Message struct {
	Subject string
	Source  string
	Place   Place
	event.Record
}

var (
	// ErrAhead says that the bus holds messages that the source's table does
	// not: the table was restored from an older copy, or is a new one.
	// Publishing would give their positions to other events.
	ErrAhead = errors.New("bus: the bus is ahead of the event table")
	// ErrGone says that the bus does not hold the messages behind a place any
	// more, and has no Feed to read them from.
	ErrGone = errors.New("bus: the messages wanted are not held any more")
	// ErrNotYet says that what is needed has not arrived yet. A handler returns
	// it to be called again soon with the same message.
	ErrNotYet = errors.New("bus: not yet")
)
