package eventsourcetest

import (
	"context"
	"testing"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
)

var loadAtCases = []testcase{
	{"an aggregate is loaded as of each of its versions", func(t *testing.T, b Backend) {
		for _, d := range []eventsource.Decider[int, add, counterEvent]{counter, snapping(1)} {
			repo := eventsource.NewRepository(b.Store, d)
			counting(t, repo, 7)
			for v := range uint64(8) {
				got, err := repo.LoadAt(t.Context(), "1", eventsource.AtVersion(v))
				if err != nil || got.State != int(v) || got.Version != v || got.Position != event.Position(v) {
					t.Errorf("version %d: got %+v, %v", v, got, err)
				}
			}
		}
	}},
	{"a version that has not come yet is the newest", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		counting(t, repo, 2)
		if got, err := repo.LoadAt(t.Context(), "1", eventsource.AtVersion(9)); err != nil || got.State != 2 || got.Version != 2 {
			t.Errorf("got %+v, %v", got, err)
		}
	}},
	{"an aggregate is loaded as of the time of each event", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, snapping(1))
		counting(t, repo, 4)
		for _, r := range read(t, b.Store, counterStream, eventsource.ReadOptions{}) {
			got, err := repo.LoadAt(t.Context(), "1", eventsource.AtTime(r.Time))
			if err != nil || got.Version < r.Version || got.State != int(got.Version) {
				t.Errorf("at %v, version %d: got %+v, %v", r.Time, r.Version, got, err)
			}
			before, err := repo.LoadAt(t.Context(), "1", eventsource.AtTime(r.Time.Add(-time.Microsecond)))
			if err != nil || before.Version >= r.Version || before.State != int(before.Version) {
				t.Errorf("before %v, version %d: got %+v, %v", r.Time, r.Version, before, err)
			}
		}
	}},
	{"before its first event an aggregate is as it begins", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, snapping(1))
		counting(t, repo, 4)
		got, err := repo.LoadAt(t.Context(), "1", eventsource.AtTime(time.Now().Add(-time.Hour)))
		if err != nil || got.State != 0 || got.Version != 0 || got.Position != 0 {
			t.Errorf("got %+v, %v", got, err)
		}
	}},
	{"now and later is the newest", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, snapping(1))
		counting(t, repo, 4)
		got, err := repo.LoadAt(t.Context(), "1", eventsource.AtTime(time.Now().Add(time.Hour)))
		if err != nil || got.State != 4 || got.Version != 4 {
			t.Errorf("got %+v, %v", got, err)
		}
	}},
	{"a snapshot after the moment is not used", func(t *testing.T, b Backend) {
		counting(t, eventsource.NewRepository(b.Store, counter), 4)
		saveState(t, b.Store, 4, 1, `100`)
		got, err := eventsource.NewRepository(b.Store, snapping(1)).LoadAt(t.Context(), "1", eventsource.AtVersion(3))
		if err != nil || got.State != 3 || got.Version != 3 {
			t.Errorf("got %+v, %v", got, err)
		}
	}},
	{"a snapshot before the moment is used", func(t *testing.T, b Backend) {
		counting(t, eventsource.NewRepository(b.Store, counter), 5)
		saveState(t, b.Store, 3, 1, `100`)
		got, err := eventsource.NewRepository(b.Store, snapping(1)).LoadAt(t.Context(), "1", eventsource.AtVersion(4))
		if err != nil || got.State != 101 || got.Version != 4 {
			t.Errorf("got %+v, %v", got, err)
		}
	}},
}

var lookupCases = []testcase{
	{"a record is found by its ID", func(t *testing.T, b Backend) {
		recs := records(2)
		appended(t, b.Store, streamB, eventsource.Any, records(1)...)
		appended(t, b.Store, streamA, eventsource.Any, recs...)
		for i, r := range recs {
			want := eventsource.Commit{Stream: streamA, Version: uint64(i + 1), Position: event.Position(i + 2)}
			if got, found, err := b.Other.Lookup(t.Context(), r.ID); err != nil || !found || got != want {
				t.Errorf("got %+v, %v, %v, want %+v", got, found, err, want)
			}
		}
	}},
	{"an ID that was never recorded is not found", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(1)...)
		if got, found, err := b.Store.Lookup(t.Context(), event.NewID()); err != nil || found {
			t.Errorf("got %+v, %v", got, err)
		}
	}},
	{"an ID is found in its transaction at once and by others after the commit", func(t *testing.T, b Backend) {
		recs := records(1)
		update(t, b, nil, func(ctx context.Context, in eventsource.Store) {
			appended(t, in, streamA, eventsource.Any, recs...)
			if _, found, err := in.Lookup(ctx, recs[0].ID); err != nil || !found {
				t.Errorf("inside: %v, %v", found, err)
			}
			if _, found, err := b.Store.Lookup(t.Context(), recs[0].ID); err != nil || found {
				t.Errorf("outside: %v, %v", found, err)
			}
		})
		if _, found, err := b.Store.Lookup(t.Context(), recs[0].ID); err != nil || !found {
			t.Errorf("after: %v, %v", found, err)
		}
	}},
}
