package eventsourcetest

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/sqldb"
)

// counterStream is where the repository cases count.
var counterStream = event.Stream{Category: "counter", ID: "1"}

// snapping is the counter with a snapshot after every third event.
func snapping(schema int) eventsource.Decider[int, add, counterEvent] {
	d := counter
	d.Snapshot = eventsource.Snapshot{Every: 3, Schema: schema}
	return d
}

// counting handles commands that add 1 each.
func counting(t *testing.T, repo *eventsource.Repository[int, add, counterEvent], n int) {
	t.Helper()
	for range n {
		if _, err := repo.Handle(t.Context(), "1", add{N: 1}); err != nil {
			t.Fatal(err)
		}
	}
}

func savedState(t *testing.T, st eventsource.Store, s event.Stream) eventsource.SavedState {
	t.Helper()
	saved, err := st.(eventsource.Snapshots).SavedState(t.Context(), s)
	if err != nil {
		t.Fatalf("snapshot of %s: %v", s, err)
	}
	return saved
}

func saveState(t *testing.T, st eventsource.Store, version uint64, schema int, state string) {
	t.Helper()
	err := st.(eventsource.Snapshots).SaveState(t.Context(), counterStream, eventsource.SavedState{
		Version: version, Position: event.Position(version), Time: time.Now(), Schema: schema, State: json.RawMessage(state)})
	if err != nil {
		t.Fatal(err)
	}
}

func wantSaved(t *testing.T, st eventsource.Store, version uint64, schema int, state string) {
	t.Helper()
	if got := savedState(t, st, counterStream); got.Version != version || got.Schema != schema || string(got.State) != state {
		t.Fatalf("the snapshot is %s of schema %d at version %d, want %s of %d at %d", got.State, got.Schema, got.Version, state, schema, version)
	}
}

// wantState loads the counter "1" through a decider.
func wantState(t *testing.T, st eventsource.Store, d eventsource.Decider[int, add, counterEvent], state int, version uint64) {
	t.Helper()
	got, err := eventsource.NewRepository(st, d).Load(t.Context(), "1")
	if err != nil || got.State != state || got.Version != version {
		t.Fatalf("loaded %+v, %v, want state %d of version %d", got, err, state, version)
	}
}

var snapshotCases = []testcase{
	{"a stream has no snapshot at first", func(t *testing.T, b Backend) {
		if got := savedState(t, b.Store, counterStream); !reflect.DeepEqual(got, eventsource.SavedState{}) {
			t.Errorf("got %+v", got)
		}
	}},
	{"a snapshot comes back as it was", func(t *testing.T, b Backend) {
		want := eventsource.SavedState{Version: 7, Position: 9, Schema: 2, State: json.RawMessage(`{ "b": 1.0, "a": "\u0000" }`),
			Time: time.Date(2024, 2, 29, 12, 0, 0, 123456000, time.UTC)}
		if err := b.Store.(eventsource.Snapshots).SaveState(t.Context(), streamA, want); err != nil {
			t.Fatal(err)
		}
		if got := savedState(t, b.Other, streamA); !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if got := savedState(t, b.Store, streamB); got.Version != 0 {
			t.Errorf("another stream has %+v", got)
		}
	}},
	{"a snapshot of a higher version takes the place of a lower", func(t *testing.T, b Backend) {
		saveState(t, b.Store, 3, 1, `3`)
		saveState(t, b.Other, 6, 1, `6`)
		wantSaved(t, b.Store, 6, 1, `6`)
	}},
	{"a snapshot of a lower or the same version changes nothing", func(t *testing.T, b Backend) {
		saveState(t, b.Store, 6, 1, `6`)
		saveState(t, b.Store, 3, 1, `3`)
		saveState(t, b.Store, 6, 1, `7`)
		wantSaved(t, b.Store, 6, 1, `6`)
	}},
	{"a snapshot of a higher schema takes the place of a lower, whatever the versions", func(t *testing.T, b Backend) {
		saveState(t, b.Store, 6, 1, `6`)
		saveState(t, b.Store, 3, 2, `3`)
		wantSaved(t, b.Store, 3, 2, `3`)
	}},
	{"a snapshot of a lower schema changes nothing", func(t *testing.T, b Backend) {
		saveState(t, b.Store, 3, 2, `3`)
		saveState(t, b.Store, 6, 1, `6`)
		wantSaved(t, b.Store, 3, 2, `3`)
	}},
	{"a snapshot that cannot be is refused", func(t *testing.T, b Backend) {
		for name, c := range map[string]struct {
			s     event.Stream
			state eventsource.SavedState
		}{
			"no version":  {streamA, eventsource.SavedState{Schema: 1}},
			"no schema":   {streamA, eventsource.SavedState{Version: 1}},
			"too big":     {streamA, eventsource.SavedState{Version: 1, Schema: 1, State: make([]byte, eventsource.MaxState+1)}},
			"no category": {event.Stream{ID: "1"}, eventsource.SavedState{Version: 1, Schema: 1}},
		} {
			if err := b.Store.(eventsource.Snapshots).SaveState(t.Context(), c.s, c.state); err == nil {
				t.Errorf("%s: it was saved", name)
			}
		}
		if got := savedState(t, b.Store, streamA); got.Version != 0 {
			t.Errorf("got %+v", got)
		}
	}},
	{"a snapshot in a transaction that is undone was never there", func(t *testing.T, b Backend) {
		update(t, b, errUndo, func(ctx context.Context, in eventsource.Store) {
			saveState(t, in, 3, 1, `3`)
			wantSaved(t, in, 3, 1, `3`)
			wantSaved(t, b.Store, 0, 0, ``)
		})
		wantSaved(t, b.Store, 0, 0, ``)
	}},
	{"a repository keeps a snapshot after every so many events", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, snapping(1))
		counting(t, repo, 2)
		wantSaved(t, b.Store, 0, 0, ``)
		counting(t, repo, 1)
		wantSaved(t, b.Store, 3, 1, `3`)
		counting(t, repo, 2)
		wantSaved(t, b.Store, 3, 1, `3`)
		if _, err := repo.Handle(t.Context(), "1", add{N: 5, Events: 4}); err != nil {
			t.Fatal(err)
		}
		wantSaved(t, b.Store, 10, 1, `10`)
	}},
	{"a snapshot is where loading begins", func(t *testing.T, b Backend) {
		counting(t, eventsource.NewRepository(b.Store, counter), 4)
		saveState(t, b.Store, 3, 1, `100`) // shows that it was used
		wantState(t, b.Other, snapping(1), 101, 4)
		wantState(t, b.Store, counter, 4, 4)
	}},
	{"an aggregate loaded from a snapshot alone has its version and position", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, snapping(1))
		counting(t, repo, 3)
		if got, err := repo.Load(t.Context(), "1"); err != nil || got.State != 3 || got.Version != 3 || got.Position != 3 {
			t.Errorf("got %+v, %v", got, err)
		}
	}},
	{"a snapshot of another schema is not used and made anew", func(t *testing.T, b Backend) {
		counting(t, eventsource.NewRepository(b.Store, snapping(1)), 3)
		saveState(t, b.Store, 4, 1, `100`)
		repo := eventsource.NewRepository(b.Store, snapping(2))
		wantState(t, b.Store, snapping(2), 3, 3)
		counting(t, repo, 1)
		wantSaved(t, b.Store, 4, 2, `4`)
	}},
	{"an older release beside a newer one is right without a snapshot", func(t *testing.T, b Backend) {
		counting(t, eventsource.NewRepository(b.Store, snapping(2)), 3)
		old := eventsource.NewRepository(b.Other, snapping(1))
		counting(t, old, 3)
		wantSaved(t, b.Store, 3, 2, `3`)
		wantState(t, b.Store, snapping(1), 6, 6)
		wantState(t, b.Store, snapping(2), 6, 6)
	}},
	{"a snapshot that cannot be read is not used", func(t *testing.T, b Backend) {
		counting(t, eventsource.NewRepository(b.Store, counter), 3)
		saveState(t, b.Store, 2, 1, `"three"`)
		wantState(t, b.Store, snapping(1), 3, 3)
	}},
	{"a repository in a transaction keeps its snapshot with it", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, snapping(1))
		for _, want := range []error{errUndo, nil} {
			err := b.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
				if _, err := repo.In(tx).Handle(ctx, "1", add{N: 1, Events: 4}); err != nil {
					return err
				}
				return want
			})
			if !errors.Is(err, want) {
				t.Fatal(err)
			}
			if want != nil {
				wantSaved(t, b.Store, 0, 0, ``)
			}
		}
		wantSaved(t, b.Store, 5, 1, `1`)
	}},
	{"a repeated command is found behind a snapshot", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, snapping(1))
		first, err := repo.Handle(t.Context(), "1", add{N: 600, Events: 1}, eventsource.Idempotent("k"))
		if err != nil {
			t.Fatal(err)
		}
		counting(t, repo, 5)
		again, err := repo.Handle(t.Context(), "1", add{N: 600, Events: 1}, eventsource.Idempotent("k")) // now too much
		first.Replayed = true
		if err != nil || again != first {
			t.Errorf("got %+v, %v, want %+v", again, err, first)
		}
	}},
	{"of many writers with snapshots none is wrong", func(t *testing.T, b Backend) {
		won := race(b, 16, func(st eventsource.Store) bool {
			repo := eventsource.NewRepository(st, snapping(1))
			for {
				_, err := repo.Handle(t.Context(), "1", add{N: 1})
				if !errors.Is(err, eventsource.ErrConflict) {
					return err == nil
				}
			}
		})
		if won != 16 {
			t.Errorf("%d of 16 succeeded", won)
		}
		wantState(t, b.Store, snapping(1), 16, 16)
		saved := savedState(t, b.Store, counterStream)
		var state uint64
		if err := json.Unmarshal(saved.State, &state); err != nil || state != saved.Version {
			t.Errorf("the snapshot at version %d is %s", saved.Version, saved.State)
		}
	}},
}
