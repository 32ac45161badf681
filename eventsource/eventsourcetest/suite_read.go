package eventsourcetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
)

var readCases = []testcase{
	{"a stream that is not there is empty", func(t *testing.T, b Backend) {
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{}), 1, 0)
	}},
	{"records come in order of version with all that the store sets", func(t *testing.T, b Backend) {
		recs := records(3)
		appended(t, b.Store, streamB, eventsource.Any, records(1)...)
		appended(t, b.Store, streamA, eventsource.Any, recs...)
		got := read(t, b.Other, streamA, eventsource.ReadOptions{})
		wantVersions(t, got, 1, 3)
		wantPositions(t, got, 2, 4)
		for i, r := range got {
			if r.ID != recs[i].ID || r.Stream != streamA || r.Type != recs[i].Type || r.Schema != 1 {
				t.Errorf("got %+v, want %+v", r, recs[i])
			}
		}
	}},
	{"From begins at a version", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(5)...)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{From: 4}), 4, 5)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{From: 1}), 1, 5)
	}},
	{"From behind the end is empty", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(2)...)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{From: 3}), 3, 2)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{From: 1 << 63}), 3, 2)
	}},
	{"Limit ends a read", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(5)...)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{From: 2, Limit: 2}), 2, 3)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{Limit: 9}), 1, 5)
	}},
	{"a long stream is read whole", func(t *testing.T, b Backend) {
		for range 2 {
			appended(t, b.Store, streamA, eventsource.Any, records(eventsource.MaxAppend)...)
		}
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{}), 1, 2*eventsource.MaxAppend)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{Limit: 700}), 1, 700)
	}},
	{"a reader may stop and write", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(3)...)
		for r, err := range b.Store.Read(t.Context(), streamA, eventsource.ReadOptions{}) {
			if err != nil || r.Version != 1 {
				t.Fatalf("got %+v, %v", r, err)
			}
			appended(t, b.Store, streamA, eventsource.Any, records(1)...)
			break
		}
		wantHead(t, b.Store, 4)
	}},
	{"an ended context ends reads, feeds and appends with its error", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(1)...)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, err := range b.Store.Read(ctx, streamA, eventsource.ReadOptions{}) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("read: %v", err)
			}
		}
		for _, err := range b.Store.Feed(ctx, eventsource.FeedOptions{}) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("feed: %v", err)
			}
		}
		if _, err := b.Store.Append(ctx, streamA, eventsource.Any, records(1)...); !errors.Is(err, context.Canceled) {
			t.Errorf("append: %v", err)
		}
		wantHead(t, b.Store, 1)
	}},
}

var feedCases = []testcase{
	{"a feed of nothing ends at once", func(t *testing.T, b Backend) {
		wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{}), 1, 0)
	}},
	{"a feed has all streams in the order of commits", func(t *testing.T, b Backend) {
		want := []event.Stream{streamA, streamB, streamA, streamB}
		for _, s := range want {
			appended(t, b.Store, s, eventsource.Any, records(1)...)
		}
		got := feed(t, b.Other, eventsource.FeedOptions{})
		wantPositions(t, got, 1, 4)
		for i, r := range got {
			if r.Stream != want[i] {
				t.Errorf("position %d is of %s, want %s", r.Position, r.Stream, want[i])
			}
		}
	}},
	{"After begins behind a position", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(5)...)
		wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{After: 3}), 4, 5)
	}},
	{"After at the head or beyond is empty", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(2)...)
		wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{After: 2}), 3, 2)
		wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{After: 1 << 63}), 3, 2)
	}},
	{"Limit ends a feed", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(5)...)
		wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{After: 1, Limit: 3}), 2, 4)
	}},
	{"a long feed is read whole", func(t *testing.T, b Backend) {
		for _, s := range []event.Stream{streamA, streamB} {
			appended(t, b.Store, s, eventsource.Any, records(eventsource.MaxAppend)...)
		}
		wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{}), 1, 2*eventsource.MaxAppend)
	}},
	{"a feed that is not live ends although writers go on", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(1)...)
		n := 0
		for _, err := range b.Store.Feed(t.Context(), eventsource.FeedOptions{Limit: 50}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			if n < 50 {
				appended(t, b.Store, streamA, eventsource.Any, records(1)...)
			}
		}
	}},
	{"a live feed waits for what comes", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(1)...)
		got := live(t, b.Store, 3)
		appended(t, b.Store, streamA, eventsource.Any, records(1)...)
		appended(t, b.Store, streamB, eventsource.Any, records(1)...)
		wantPositions(t, got(), 1, 3)
	}},
	{"a live feed sees what the other handle writes", func(t *testing.T, b Backend) {
		got := live(t, b.Other, 2)
		appended(t, b.Store, streamA, eventsource.Any, records(1)...)
		appended(t, b.Store, streamA, eventsource.Any, records(1)...)
		wantPositions(t, got(), 1, 2)
	}},
	{"a live feed ends with its context's error", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(1)...)
		ctx, cancel := context.WithCancel(t.Context())
		t.Cleanup(cancel)
		var errs []error
		for _, err := range b.Store.Feed(ctx, eventsource.FeedOptions{Live: true}) {
			if err == nil {
				time.AfterFunc(10*time.Millisecond, cancel)
				continue
			}
			errs = append(errs, err)
		}
		if len(errs) != 1 || !errors.Is(errs[0], context.Canceled) {
			t.Errorf("got %v", errs)
		}
	}},
	{"live feeds miss nothing while many write", func(t *testing.T, b Backend) {
		const writers, each = 8, 25
		var feeds []func() []event.Record
		for range 3 {
			feeds = append(feeds, live(t, b.Store, writers*each), live(t, b.Other, writers*each))
		}
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				s := event.Stream{Category: "order", ID: string(rune('a' + w))}
				st := []eventsource.Store{b.Store, b.Other}[w%2]
				for range each {
					if _, err := st.Append(t.Context(), s, eventsource.Any, records(1)...); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		for _, got := range feeds {
			recs := got()
			if len(recs) != writers*each {
				t.Fatalf("got %d records, want %d", len(recs), writers*each)
			}
			var position event.Position
			last := map[event.Stream]uint64{}
			for _, r := range recs {
				if r.Position <= position { // a position that a feed has sealed stays without a record
					t.Fatalf("position %d comes behind %d", r.Position, position)
				}
				position = r.Position
				if last[r.Stream]++; r.Version != last[r.Stream] {
					t.Fatalf("%s: version %d, want %d", r.Stream, r.Version, last[r.Stream])
				}
			}
		}
	}},
}

// live follows a feed until it has n records, and returns a function that
// waits for them.
func live(t *testing.T, st eventsource.Store, n int) func() []event.Record {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	done := make(chan []event.Record, 1)
	go func() {
		var recs []event.Record
		for r, err := range st.Feed(ctx, eventsource.FeedOptions{Live: true, Limit: n}) {
			if err != nil {
				t.Errorf("live feed: %v", err)
				break
			}
			recs = append(recs, r)
		}
		done <- recs
	}()
	return func() []event.Record { return <-done }
}
