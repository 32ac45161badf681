package bus

import (
	"context"
	"fmt"
	"iter"
)

// Feed reads the tables of sources at their owners, for what a bus does not
// hold any more.
type Feed interface {
	// Read yields the messages of f behind after, in order, and ends at the end
	// of the table. A Message without a Subject is none, and only says how far it
	// has come: the last thing yielded is one.
	Read(ctx context.Context, f Filter, after Place) iter.Seq2[Message, error]
}

// Tables is the Feed of sources that are at hand.
type Tables []Source

// passed is how many records that a filter leaves out are passed in silence.
const passed = 4096

// Read implements Feed.
func (t Tables) Read(ctx context.Context, f Filter, after Place) iter.Seq2[Message, error] {
	for _, s := range t {
		if s.Name() == f.Source {
			return read(ctx, s, f, after)
		}
	}
	return func(yield func(Message, error) bool) {
		yield(Message{}, fmt.Errorf("bus: no table of %s is here", f.Source))
	}
}

func read(ctx context.Context, s Source, f Filter, after Place) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		epochs, err := s.Epochs(ctx)
		if err != nil {
			yield(Message{}, fmt.Errorf("bus: epochs of %s: %w", f.Source, err))
			return
		}
		at, _ := Enter(epochs, after)
		silent := 0
		for r, err := range s.Feed(ctx, at.Position, false) {
			if err != nil {
				yield(Message{}, fmt.Errorf("bus: read the events of %s: %w", f.Source, err))
				return
			}
			at = Place{Epoch: EpochAt(epochs, r.Position), Position: r.Position}
			m := Message{Source: f.Source, Place: at}
			if subject := Subject(f.Source, r); f.Match(subject) {
				m.Subject, m.Record = subject, r
			} else if silent++; silent < passed {
				continue
			}
			silent = 0
			if !yield(m, nil) {
				return
			}
		}
		yield(Message{Source: f.Source, Place: at}, ctx.Err())
	}
}
