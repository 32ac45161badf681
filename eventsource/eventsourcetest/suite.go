package eventsourcetest

import (
	"context"
	"testing"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/sqldb"
)

// Backend is a store under test.
type Backend struct {
	Store eventsource.Store
	// Other is a second handle of the same events. Nil: Store.
	Other eventsource.Store
	// Gaps says that an append which is undone may leave positions unused.
	Gaps bool
	// Update runs f in a transaction that Store.In takes.
	Update func(ctx context.Context, f func(ctx context.Context, tx sqldb.Tx) error) error
}

// Run checks all that eventsource.Store promises, and what Snapshots and
// Archives do if the store is such. open returns an empty store for each case.
func Run(t *testing.T, open func(t *testing.T) Backend) {
	type group struct {
		name  string
		cases []testcase
	}
	groups := []group{
		{"versions", versionCases},
		{"expectations", expectCases},
		{"repeated appends", replayCases},
		{"reading", readCases},
		{"feed", feedCases},
		{"records", recordCases},
		{"transactions", txCases},
		{"races", raceCases},
		{"lookups", lookupCases},
		{"names of streams", streamCases},
		{"pages", pageCases},
		{"metadata", metaCases},
		{"codecs", codecCases},
		{"commands", handleCases},
		{"repository", repositoryCases},
	}
	st := open(t).Store
	_, snapshots := st.(eventsource.Snapshots)
	_, archives := st.(eventsource.Archives)
	if snapshots {
		groups = append(groups, group{"snapshots", snapshotCases}, group{"moments", loadAtCases})
	}
	if archives {
		groups = append(groups, group{"truncation", truncateCases}, group{"archive", archiveCases})
	}
	if snapshots && archives {
		groups = append(groups, group{"truncated aggregates", compactCases})
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			for _, c := range g.cases {
				t.Run(c.name, func(t *testing.T) {
					b := open(t)
					if b.Other == nil {
						b.Other = b.Store
					}
					c.run(t, b)
				})
			}
		})
	}
}

type testcase struct {
	name string
	run  func(t *testing.T, b Backend)
}

var (
	streamA = event.Stream{Category: "order", ID: "a"}
	streamB = event.Stream{Category: "order", ID: "b"}
)

// records returns n new records.
func records(n int) []event.Record {
	recs := make([]event.Record, n)
	for i := range recs {
		recs[i] = event.Record{ID: event.NewID(), Type: "order.placed", Schema: 1, Data: []byte(`{"total":1234}`)}
	}
	return recs
}

// appended appends and wants no error.
func appended(t *testing.T, st eventsource.Store, s event.Stream, x eventsource.Expect, recs ...event.Record) eventsource.Commit {
	t.Helper()
	c, err := st.Append(t.Context(), s, x, recs...)
	if err != nil {
		t.Fatalf("append to %s expecting %s: %v", s, x, err)
	}
	return c
}

func read(t *testing.T, st eventsource.Store, s event.Stream, o eventsource.ReadOptions) []event.Record {
	t.Helper()
	var recs []event.Record
	for r, err := range st.Read(t.Context(), s, o) {
		if err != nil {
			t.Fatalf("read %s: %v", s, err)
		}
		recs = append(recs, r)
	}
	return recs
}

func feed(t *testing.T, st eventsource.Store, o eventsource.FeedOptions) []event.Record {
	t.Helper()
	var recs []event.Record
	for r, err := range st.Feed(t.Context(), o) {
		if err != nil {
			t.Fatalf("feed after %d: %v", o.After, err)
		}
		recs = append(recs, r)
	}
	return recs
}

func wantHead(t *testing.T, st eventsource.Store, want event.Position) {
	t.Helper()
	got, err := st.Head(t.Context())
	if err != nil || got != want {
		t.Fatalf("head %d, %v, want %d", got, err, want)
	}
}

func wantPositions(t *testing.T, recs []event.Record, first, last event.Position) {
	t.Helper()
	if want := int(last) - int(first) + 1; len(recs) != want {
		t.Fatalf("got %d records, want %d", len(recs), want)
	}
	for i, r := range recs {
		if want := first + event.Position(i); r.Position != want {
			t.Fatalf("record %d is at position %d, want %d", i, r.Position, want)
		}
	}
}

// wantFeed wants n records in the order of positions, none left out where the
// store leaves none unused.
func wantFeed(t *testing.T, b Backend, recs []event.Record, n int) {
	t.Helper()
	if !b.Gaps {
		wantPositions(t, recs, 1, event.Position(n))
		return
	}
	if len(recs) != n {
		t.Fatalf("got %d records, want %d", len(recs), n)
	}
	for i := range recs[1:] {
		if recs[i].Position >= recs[i+1].Position {
			t.Fatalf("position %d comes before %d", recs[i].Position, recs[i+1].Position)
		}
	}
}

func wantVersions(t *testing.T, recs []event.Record, first, last uint64) {
	t.Helper()
	if want := int(last) - int(first) + 1; len(recs) != want {
		t.Fatalf("got %d records, want %d", len(recs), want)
	}
	for i, r := range recs {
		if want := first + uint64(i); r.Version != want {
			t.Fatalf("record %d has version %d, want %d", i, r.Version, want)
		}
	}
}
