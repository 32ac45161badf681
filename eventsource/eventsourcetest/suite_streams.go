package eventsourcetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/sqldb"
)

// wantApart appends to each stream and wants each to have its own record only.
func wantApart(t *testing.T, b Backend, streams ...event.Stream) {
	t.Helper()
	ids := map[event.Stream]event.ID{}
	for _, s := range streams {
		r := records(1)[0]
		ids[s] = r.ID
		appended(t, b.Store, s, eventsource.NoStream, r)
	}
	for _, s := range streams {
		got := read(t, b.Other, s, eventsource.ReadOptions{})
		if len(got) != 1 || got[0].ID != ids[s] || got[0].Stream != s {
			t.Errorf("%q has %+v", s, got)
		}
	}
}

func streams(category string, ids ...string) []event.Stream {
	var all []event.Stream
	for _, id := range ids {
		all = append(all, event.Stream{Category: category, ID: id})
	}
	return all
}

var streamCases = []testcase{
	{"IDs that differ in case are two streams", func(t *testing.T, b Backend) {
		wantApart(t, b, streams("order", "a", "A")...)
	}},
	{"categories that differ in case are two", func(t *testing.T, b Backend) {
		wantApart(t, b, event.Stream{Category: "order", ID: "1"}, event.Stream{Category: "Order", ID: "1"})
	}},
	{"IDs that differ in spaces are two streams", func(t *testing.T, b Backend) {
		wantApart(t, b, streams("order", "a", "a ", " a", " ")...)
	}},
	{"IDs that look alike are two streams", func(t *testing.T, b Backend) {
		wantApart(t, b, streams("order", "\u00e9", "e\u0301", "ss", "ß")...)
	}},
	{"IDs with wildcards and quotes are names only", func(t *testing.T, b Backend) {
		wantApart(t, b, streams("order", "%", "_", "*", "?", "'", "''", `"`, `\`, "a;b", "--", "NULL", "$1", "?1")...)
	}},
	{"IDs with slashes do not reach into other categories", func(t *testing.T, b Backend) {
		wantApart(t, b, event.Stream{Category: "a", ID: "b/c"}, event.Stream{Category: "a.b", ID: "c"}, event.Stream{Category: "a", ID: "b"})
	}},
	{"IDs of other scripts and beyond the first plane are kept", func(t *testing.T, b Backend) {
		wantApart(t, b, streams("order", "日本", "\U0001F355", "עברית", "e\u200d")...)
	}},
	{"the longest ID and category are kept", func(t *testing.T, b Backend) {
		long := event.Stream{Category: strings.Repeat("c", event.MaxName), ID: strings.Repeat("i", event.MaxID)}
		wantApart(t, b, long, event.Stream{Category: long.Category, ID: long.ID[1:]})
	}},
	{"streams of the toolkit's categories are streams as any", func(t *testing.T, b Backend) {
		wantApart(t, b, event.Stream{Category: "$cmd.kitchen", ID: "1"}, event.Stream{Category: "$rpl.order", ID: "1"}, event.Stream{Category: "kitchen", ID: "1"})
	}},
	{"numbers as IDs are text", func(t *testing.T, b Backend) {
		wantApart(t, b, streams("order", "1", "01", "1.0", "1e0", "0x1")...)
	}},
	{"a stream nobody asks for is not in another's way", func(t *testing.T, b Backend) {
		for n := range 50 {
			appended(t, b.Store, event.Stream{Category: "order", ID: fmt.Sprint(n)}, eventsource.NoStream, records(2)...)
		}
		got := read(t, b.Other, event.Stream{Category: "order", ID: "31"}, eventsource.ReadOptions{})
		wantVersions(t, got, 1, 2)
		wantPositions(t, got, 63, 64)
	}},
}

var pageCases = []testcase{
	{"a limit of exactly the records there are reads them all", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(3)...)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{Limit: 3}), 1, 3)
		wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{Limit: 3}), 1, 3)
	}},
	{"a limit of one reads one", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(3)...)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{Limit: 1}), 1, 1)
		wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{After: 1, Limit: 1}), 2, 2)
	}},
	{"a limit below zero is none", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(3)...)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{Limit: -1}), 1, 3)
		wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{Limit: -1}), 1, 3)
	}},
	{"From at the last version is one record", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(4)...)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{From: 4}), 4, 4)
	}},
	{"From at the highest number there is is empty", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(1)...)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{From: math.MaxUint64}), 2, 1)
		wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{After: math.MaxUint64}), 2, 1)
	}},
	{"limits around the size of a page read what they say", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(900)...)
		for _, limit := range []int{255, 256, 257, 511, 512, 513, 899, 900, 901} {
			wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{Limit: limit}), 1, uint64(min(limit, 900)))
			wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{Limit: limit}), 1, event.Position(min(limit, 900)))
		}
	}},
	{"records that are big together are read whole", func(t *testing.T, b Backend) {
		recs := records(24)
		for i := range recs {
			recs[i].Data = bytes.Repeat([]byte{byte(i)}, event.MaxData)
		}
		appended(t, b.Store, streamA, eventsource.Any, recs...)
		n := 0
		for r, err := range b.Other.Read(t.Context(), streamA, eventsource.ReadOptions{}) {
			if err != nil || !bytes.Equal(r.Data, recs[n].Data) {
				t.Fatalf("record %d: %d bytes, %v", n+1, len(r.Data), err)
			}
			n++
		}
		if n != len(recs) {
			t.Errorf("read %d", n)
		}
	}},
	{"a sequence can be read again and again", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(3)...)
		seq := b.Store.Read(t.Context(), streamA, eventsource.ReadOptions{From: 2})
		all := b.Store.Feed(t.Context(), eventsource.FeedOptions{After: 1})
		for range 3 {
			n := 0
			for _, err := range seq {
				if n++; err != nil {
					t.Fatal(err)
				}
			}
			for r, err := range all {
				if n++; err != nil || r.Position < 2 {
					t.Fatal(r.Position, err)
				}
			}
			if n != 4 {
				t.Fatalf("read %d records", n)
			}
		}
	}},
	{"readers inside readers do not disturb each other", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(3)...)
		n := 0
		for _, err := range b.Store.Read(t.Context(), streamA, eventsource.ReadOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			n += len(read(t, b.Store, streamA, eventsource.ReadOptions{})) + len(feed(t, b.Other, eventsource.FeedOptions{}))
		}
		if n != 18 {
			t.Errorf("read %d", n)
		}
	}},
	{"a feed that stops goes on behind its last position", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(5)...)
		var last event.Position
		for range 5 {
			for r, err := range b.Store.Feed(t.Context(), eventsource.FeedOptions{After: last}) {
				if err != nil || r.Position != last+1 {
					t.Fatalf("got position %d, %v, behind %d", r.Position, err, last)
				}
				last = r.Position
				break
			}
		}
	}},
	{"what is read in its transaction can be narrowed too", func(t *testing.T, b Backend) {
		update(t, b, nil, func(ctx context.Context, in eventsource.Store) {
			appended(t, in, streamA, eventsource.Any, records(5)...)
			wantVersions(t, read(t, in, streamA, eventsource.ReadOptions{From: 2, Limit: 2}), 2, 3)
			wantPositions(t, feed(t, in, eventsource.FeedOptions{After: 3, Limit: 1}), 4, 4)
		})
	}},
	{"two streams in one transaction have positions without a hole", func(t *testing.T, b Backend) {
		update(t, b, nil, func(ctx context.Context, in eventsource.Store) {
			appended(t, in, streamA, eventsource.Any, records(2)...)
			appended(t, in, streamB, eventsource.Any, records(2)...)
			appended(t, in, streamA, eventsource.At(2), records(1)...)
		})
		wantPositions(t, feed(t, b.Other, eventsource.FeedOptions{}), 1, 5)
	}},
	{"a store of a transaction gives itself for the same transaction", func(t *testing.T, b Backend) {
		err := b.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
			appended(t, b.Store.In(tx).In(tx), streamA, eventsource.Any, records(1)...)
			wantHead(t, b.Store.In(tx), 1)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}},
	{"a context that ends in a transaction undoes it", func(t *testing.T, b Backend) {
		ctx, cancel := context.WithCancel(t.Context())
		err := b.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
			appended(t, b.Store.In(tx), streamA, eventsource.Any, records(1)...)
			cancel()
			return ctx.Err()
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		wantHead(t, b.Store, 0)
	}},
	{"the epoch is the same in a transaction", func(t *testing.T, b Backend) {
		want, err := b.Store.Epoch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		update(t, b, nil, func(ctx context.Context, in eventsource.Store) {
			if got, err := in.Epoch(ctx); err != nil || got != want {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		})
	}},
	{"an append in many small steps is one of many records", func(t *testing.T, b Backend) {
		for v := range uint64(40) {
			if c := appended(t, b.Store, streamA, eventsource.At(v), records(1)...); c.Version != v+1 || c.Position != event.Position(v+1) {
				t.Fatalf("got %+v", c)
			}
		}
		wantVersions(t, read(t, b.Other, streamA, eventsource.ReadOptions{}), 1, 40)
	}},
	{"the most records that one append takes are one commit", func(t *testing.T, b Backend) {
		c := appended(t, b.Store, streamA, eventsource.NoStream, records(eventsource.MaxAppend)...)
		if c.Version != eventsource.MaxAppend || c.Position != eventsource.MaxAppend {
			t.Errorf("got %+v", c)
		}
		wantConflict(t, b, streamA, eventsource.At(1), eventsource.MaxAppend)
	}},
}
