package eventsourcetest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/sqldb"
)

var errUndo = errors.New("undo this")

// update runs f in a transaction and wants it to end with want.
func update(t *testing.T, b Backend, want error, f func(ctx context.Context, in eventsource.Store)) {
	t.Helper()
	err := b.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		f(ctx, b.Store.In(tx))
		return want
	})
	if !errors.Is(err, want) {
		t.Fatalf("the transaction ended with %v, want %v", err, want)
	}
}

var txCases = []testcase{
	{"a transaction sees its own writes, others see them after the commit", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(1)...)
		update(t, b, nil, func(ctx context.Context, in eventsource.Store) {
			appended(t, in, streamA, eventsource.At(1), records(2)...)
			appended(t, in, streamB, eventsource.NoStream, records(1)...)
			wantVersions(t, read(t, in, streamA, eventsource.ReadOptions{}), 1, 3)
			wantPositions(t, feed(t, in, eventsource.FeedOptions{}), 1, 4)
			wantHead(t, in, 4)
			wantHead(t, b.Store, 1)
			wantVersions(t, read(t, b.Other, streamA, eventsource.ReadOptions{}), 1, 1)
			wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{}), 1, 1)
		})
		wantHead(t, b.Other, 4)
	}},
	{"an error undoes all appends", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(1)...)
		again := records(2)
		update(t, b, errUndo, func(ctx context.Context, in eventsource.Store) {
			appended(t, in, streamA, eventsource.Any, again...)
			appended(t, in, streamB, eventsource.Any, records(1)...)
		})
		wantHead(t, b.Store, 1)
		wantVersions(t, read(t, b.Store, streamB, eventsource.ReadOptions{}), 1, 0)
		if c := appended(t, b.Store, streamA, eventsource.At(1), again...); c.Replayed || c.Position != 3 && !b.Gaps || c.Version != 3 {
			t.Errorf("got %+v", c)
		}
	}},
	{"a panic undoes all appends and comes through", func(t *testing.T, b Backend) {
		func() {
			defer func() {
				if v := recover(); v != "boom" {
					t.Errorf("recovered %v", v)
				}
			}()
			update(t, b, nil, func(ctx context.Context, in eventsource.Store) {
				appended(t, in, streamA, eventsource.Any, records(1)...)
				panic("boom")
			})
		}()
		wantHead(t, b.Store, 0)
		appended(t, b.Store, streamA, eventsource.NoStream, records(1)...)
	}},
	{"a conflict leaves the transaction as it was", func(t *testing.T, b Backend) {
		update(t, b, nil, func(ctx context.Context, in eventsource.Store) {
			appended(t, in, streamA, eventsource.Any, records(1)...)
			if _, err := in.Append(ctx, streamA, eventsource.NoStream, records(2)...); !errors.Is(err, eventsource.ErrConflict) {
				t.Errorf("got %v", err)
			}
			appended(t, in, streamA, eventsource.At(1), records(1)...)
		})
		wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{}), 1, 2)
	}},
	{"a refused append leaves nothing behind in a transaction that goes on", func(t *testing.T, b Backend) {
		old := records(1)
		appended(t, b.Store, streamA, eventsource.Any, old...)
		update(t, b, nil, func(ctx context.Context, in eventsource.Store) {
			if _, err := in.Append(ctx, streamB, eventsource.Any, records(1)[0], old[0]); !errors.Is(err, eventsource.ErrDuplicate) {
				t.Errorf("got %v", err)
			}
			appended(t, in, streamB, eventsource.NoStream, records(1)...)
		})
		wantFeed(t, b, feed(t, b.Store, eventsource.FeedOptions{}), 2)
	}},
	{"a repeated append in one transaction is answered", func(t *testing.T, b Backend) {
		recs := records(2)
		update(t, b, nil, func(ctx context.Context, in eventsource.Store) {
			appended(t, in, streamA, eventsource.NoStream, recs...)
			if c := appended(t, in, streamA, eventsource.NoStream, recs...); !c.Replayed || c.Version != 2 {
				t.Errorf("got %+v", c)
			}
		})
		wantHead(t, b.Store, 2)
	}},
	{"a transaction has no live feed", func(t *testing.T, b Backend) {
		update(t, b, nil, func(ctx context.Context, in eventsource.Store) {
			n := 0
			for _, err := range in.Feed(ctx, eventsource.FeedOptions{Live: true}) {
				if n++; !errors.Is(err, eventsource.ErrLiveInTx) {
					t.Errorf("got %v", err)
				}
			}
			if n != 1 {
				t.Errorf("the feed yielded %d times", n)
			}
		})
	}},
	{"a transaction that has ended is of no use", func(t *testing.T, b Backend) {
		var kept eventsource.Store
		update(t, b, nil, func(ctx context.Context, in eventsource.Store) { kept = in })
		if _, err := kept.Append(t.Context(), streamA, eventsource.Any, records(1)...); err == nil {
			t.Error("it appended")
		}
		if _, err := kept.Head(t.Context()); err == nil {
			t.Error("it read")
		}
		wantHead(t, b.Store, 0)
	}},
	{"a live feed does not see undone appends", func(t *testing.T, b Backend) {
		got := live(t, b.Other, 2)
		for range 3 {
			update(t, b, errUndo, func(ctx context.Context, in eventsource.Store) {
				appended(t, in, streamA, eventsource.Any, records(2)...)
			})
		}
		appended(t, b.Store, streamA, eventsource.NoStream, records(2)...)
		wantFeed(t, b, got(), 2)
	}},
}

// race runs n callers on both handles at once, and counts who succeeded.
func race(b Backend, n int, f func(st eventsource.Store) bool) int {
	var won atomic.Int32
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			if f([]eventsource.Store{b.Store, b.Other}[i%2]) {
				won.Add(1)
			}
		})
	}
	close(start)
	wg.Wait()
	return int(won.Load())
}

var raceCases = []testcase{
	{"of many who expect one version exactly one wins and the others conflict", func(t *testing.T, b Backend) {
		for round := range uint64(10) {
			won := race(b, 32, func(st eventsource.Store) bool {
				c, err := st.Append(t.Context(), streamA, eventsource.At(round), records(1)...)
				var conflict *eventsource.ConflictError
				if err != nil && (!errors.As(err, &conflict) || conflict.Actual != round+1) {
					t.Errorf("got %+v, %v", c, err)
				}
				return err == nil
			})
			if won != 1 {
				t.Fatalf("%d appends expecting version %d succeeded", won, round)
			}
		}
		wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{}), 1, 10)
	}},
	{"many who expect anything all win, without a hole", func(t *testing.T, b Backend) {
		won := race(b, 32, func(st eventsource.Store) bool {
			c, err := st.Append(t.Context(), streamA, eventsource.Any, records(3)...)
			if err != nil || c.Version%3 != 0 {
				t.Errorf("got %+v, %v", c, err)
			}
			return err == nil
		})
		recs := read(t, b.Store, streamA, eventsource.ReadOptions{})
		wantVersions(t, recs, 1, 96)
		wantPositions(t, recs, 1, 96)
		if won != 32 {
			t.Errorf("%d won", won)
		}
	}},
	{"of many with the same IDs one writes and all get its answer", func(t *testing.T, b Backend) {
		recs := records(2)
		wrote := race(b, 16, func(st eventsource.Store) bool {
			c, err := st.Append(t.Context(), streamA, eventsource.NoStream, recs...)
			if err != nil || c.Version != 2 || c.Position != 2 {
				t.Errorf("got %+v, %v", c, err)
			}
			return !c.Replayed
		})
		if wrote != 1 {
			t.Errorf("%d wrote", wrote)
		}
		wantHead(t, b.Store, 2)
	}},
	{"readers see whole appends only", func(t *testing.T, b Backend) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range 50 {
				if _, err := b.Store.Append(t.Context(), streamA, eventsource.Any, records(4)...); err != nil {
					t.Error(err)
				}
			}
		}()
		for running := true; running; {
			select {
			case <-done:
				running = false
			default:
			}
			if n := len(read(t, b.Other, streamA, eventsource.ReadOptions{})); n%4 != 0 {
				t.Fatalf("read %d records of appends of 4", n)
			}
		}
	}},
}

// event types of the repository cases
type (
	counterEvent interface{ counterEvent() }
	counted      struct{ By int }
	add          struct{ N, Events int }
)

func (counted) counterEvent() {}

// ofThisRelease are the events that the counter knows; reset is of the next.
var ofThisRelease = []event.Kind{event.Of[counted]("counter.counted", 1)}

var errTooMuch = errors.New("too much")

var counter = eventsource.Decider[int, add, counterEvent]{
	Category: "counter",
	Codec:    event.NewCodec[counterEvent](ofThisRelease...),
	Evolve:   func(n int, e counterEvent) int { return n + e.(counted).By },
	Decide: func(n int, c add) ([]counterEvent, error) {
		if n+c.N > 1000 {
			return nil, errTooMuch
		}
		events := make([]counterEvent, 0, c.Events+1)
		for range c.Events {
			events = append(events, counted{0})
		}
		if c.N != 0 {
			events = append(events, counted{c.N})
		}
		return events, nil
	},
}
