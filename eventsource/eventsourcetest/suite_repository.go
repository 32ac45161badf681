package eventsourcetest

import (
	"context"
	"errors"
	"testing"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/sqldb"
)

// wantCount loads the counter "1".
func wantCount(t *testing.T, st eventsource.Store, state int, version uint64) {
	t.Helper()
	got, err := eventsource.NewRepository(st, counter).Load(t.Context(), "1")
	want := eventsource.Loaded[int]{State: state, Version: version, Position: event.Position(version)} // the only stream
	if err != nil || got != want {
		t.Fatalf("loaded %+v, %v, want %+v", got, err, want)
	}
}

var repositoryCases = []testcase{
	{"an aggregate is its events", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		wantCount(t, b.Store, 0, 0)
		if c, err := repo.Handle(t.Context(), "1", add{N: 3, Events: 1}); err != nil || c.Version != 2 || c.Position != 2 {
			t.Fatalf("got %+v, %v", c, err)
		}
		if _, err := repo.Handle(t.Context(), "1", add{N: 4}); err != nil {
			t.Fatal(err)
		}
		wantCount(t, b.Other, 7, 3)
	}},
	{"a refused command writes nothing and its error comes back as it is", func(t *testing.T, b Backend) {
		if _, err := eventsource.NewRepository(b.Store, counter).Handle(t.Context(), "1", add{N: 1001}); err != errTooMuch {
			t.Errorf("got %v", err)
		}
		wantHead(t, b.Store, 0)
	}},
	{"a decision without events writes nothing", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		if _, err := repo.Handle(t.Context(), "1", add{N: 1}); err != nil {
			t.Fatal(err)
		}
		if c, err := repo.Handle(t.Context(), "1", add{}); err != nil || c.Version != 1 || c.Position != 1 {
			t.Errorf("got %+v, %v", c, err)
		}
	}},
	{"a command that another writer overtook is decided again", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		calls := 0
		_, err := repo.Do(t.Context(), "1", func(n int) ([]counterEvent, error) {
			if calls++; calls == 1 {
				appended(t, b.Other, event.Stream{Category: "counter", ID: "1"}, eventsource.Any,
					event.Record{ID: event.NewID(), Type: "counter.counted", Schema: 1, Data: []byte(`{"By":10}`)})
			}
			return []counterEvent{counted{n}}, nil
		})
		if err != nil || calls != 2 {
			t.Fatalf("%d calls, %v", calls, err)
		}
		wantCount(t, b.Store, 20, 2)
	}},
	{"a command that is always overtaken conflicts after four decisions", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		calls := 0
		_, err := repo.Do(t.Context(), "1", func(int) ([]counterEvent, error) {
			calls++
			appended(t, b.Other, event.Stream{Category: "counter", ID: "1"}, eventsource.Any,
				event.Record{ID: event.NewID(), Type: "counter.counted", Schema: 1, Data: []byte(`{"By":1}`)})
			return []counterEvent{counted{100}}, nil
		})
		if !errors.Is(err, eventsource.ErrConflict) || calls != 4 {
			t.Errorf("%d calls, %v", calls, err)
		}
	}},
	{"IfVersion decides on that version only", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		if _, err := repo.Handle(t.Context(), "1", add{N: 1}, eventsource.IfVersion(0)); err != nil {
			t.Fatal(err)
		}
		_, err := repo.Handle(t.Context(), "1", add{N: 1}, eventsource.IfVersion(0))
		var conflict *eventsource.ConflictError
		if !errors.As(err, &conflict) || conflict.Actual != 1 {
			t.Errorf("got %v", err)
		}
		wantCount(t, b.Store, 1, 1)
	}},
	{"a repeated command has its effect once", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		first, err := repo.Handle(t.Context(), "1", add{N: 600, Events: 1}, eventsource.Idempotent("k"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := repo.Handle(t.Context(), "1", add{N: 1}); err != nil {
			t.Fatal(err)
		}
		again, err := repo.Handle(t.Context(), "1", add{N: 600, Events: 1}, eventsource.Idempotent("k")) // now too much
		first.Replayed = true
		if err != nil || again != first {
			t.Errorf("got %+v, %v, want %+v", again, err, first)
		}
		if c, err := repo.Handle(t.Context(), "2", add{N: 1}, eventsource.Idempotent("k")); err != nil || c.Replayed {
			t.Errorf("another aggregate: got %+v, %v", c, err)
		}
		wantCount(t, b.Store, 601, 3)
	}},
	{"a command repeated at the same time has its effect once", func(t *testing.T, b Backend) {
		fresh := race(b, 16, func(st eventsource.Store) bool {
			c, err := eventsource.NewRepository(st, counter).Handle(t.Context(), "1", add{N: 1}, eventsource.Idempotent("k"))
			if err != nil {
				t.Error(err)
			}
			return !c.Replayed
		})
		if fresh != 1 {
			t.Errorf("%d had an effect", fresh)
		}
		wantCount(t, b.Store, 1, 1)
	}},
	{"events carry the metadata of their context", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		ctx := event.WithMeta(t.Context(), event.Meta{Correlation: "saga", Causation: "cmd", Actor: "consumer-1"})
		if _, err := repo.Handle(ctx, "1", add{N: 1}, eventsource.WithMeta(event.Meta{Causation: "other"})); err != nil {
			t.Fatal(err)
		}
		if _, err := repo.Handle(t.Context(), "1", add{N: 1, Events: 1}); err != nil {
			t.Fatal(err)
		}
		recs := feed(t, b.Store, eventsource.FeedOptions{})
		if m := recs[0].Meta; m.Correlation != "saga" || m.Causation != "other" || m.Actor != "consumer-1" {
			t.Errorf("got %+v", m)
		}
		if first := recs[1].ID.String(); recs[1].Meta.Correlation != first || recs[2].Meta.Correlation != first {
			t.Errorf("the correlation of a command without one is %q and %q, want %q", recs[1].Meta.Correlation, recs[2].Meta.Correlation, first)
		}
	}},
	{"a repository joins a transaction", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		err := b.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
			if _, err := repo.In(tx).Handle(ctx, "1", add{N: 5}); err != nil {
				return err
			}
			wantCount(t, b.Store, 0, 0)
			if got, err := repo.In(tx).Load(ctx, "1"); err != nil || got.State != 5 {
				t.Errorf("got %+v, %v", got, err)
			}
			return errUndo
		})
		if !errors.Is(err, errUndo) {
			t.Fatal(err)
		}
		wantCount(t, b.Store, 0, 0)
	}},
	{"an event of an unknown type is an error, not a gap", func(t *testing.T, b Backend) {
		appended(t, b.Store, event.Stream{Category: "counter", ID: "1"}, eventsource.Any, records(1)...)
		if _, err := eventsource.NewRepository(b.Store, counter).Load(t.Context(), "1"); !errors.Is(err, event.ErrUnknownType) {
			t.Errorf("got %v", err)
		}
	}},
}
