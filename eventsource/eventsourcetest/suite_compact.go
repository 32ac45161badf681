package eventsourcetest

import (
	"errors"
	"testing"

	"github.com/cleave-go/cleave/eventsource"
)

// beginning is the counter in which counting 100 or more owes nothing to the past.
func beginning() eventsource.Decider[int, add, counterEvent] {
	d := counter
	d.Begins = func(e counterEvent) bool { return e.(counted).By >= 100 }
	d.Evolve = func(n int, e counterEvent) int {
		if by := e.(counted).By; by < 100 {
			return n + by
		}
		return e.(counted).By
	}
	return d
}

var compactCases = []testcase{
	{"a repository truncates what a snapshot stands for", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, snapping(1))
		counting(t, repo, 4)
		if err := repo.Truncate(t.Context(), "1", 4); err != nil {
			t.Fatal(err)
		}
		wantSaved(t, b.Store, 4, 1, `4`)
		wantVersions(t, read(t, b.Store, counterStream, eventsource.ReadOptions{}), 4, 4)
		wantPurged(t, b.Store, counterStream, 100, 3)
		wantState(t, b.Other, snapping(1), 4, 4)
		counting(t, repo, 3)
		wantState(t, b.Other, snapping(1), 7, 7)
	}},
	{"a repository truncates before an event that begins", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, beginning())
		counting(t, repo, 2)
		if _, err := repo.Handle(t.Context(), "1", add{N: 100}); err != nil {
			t.Fatal(err)
		}
		counting(t, repo, 1)
		var lost *eventsource.TruncatedError
		for _, first := range []uint64{2, 4, 9} {
			if err := repo.Truncate(t.Context(), "1", first); !errors.As(err, &lost) {
				t.Errorf("before version %d: got %v", first, err)
			}
		}
		wantState(t, b.Store, beginning(), 101, 4)
		if err := repo.Truncate(t.Context(), "1", 3); err != nil {
			t.Fatal(err)
		}
		wantPurged(t, b.Store, counterStream, 100, 2)
		wantState(t, b.Other, beginning(), 101, 4)
	}},
	{"a repository truncates nothing that nothing stands for", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		counting(t, repo, 4)
		var lost *eventsource.TruncatedError
		if err := repo.Truncate(t.Context(), "1", 3); !errors.As(err, &lost) || lost.First != 3 {
			t.Errorf("got %v", err)
		}
		wantState(t, b.Store, counter, 4, 4)
	}},
	{"a snapshot of a newer release lets an older one truncate nothing", func(t *testing.T, b Backend) {
		counting(t, eventsource.NewRepository(b.Store, snapping(2)), 4)
		var lost *eventsource.TruncatedError
		if err := eventsource.NewRepository(b.Store, snapping(1)).Truncate(t.Context(), "1", 3); !errors.As(err, &lost) {
			t.Errorf("got %v", err)
		}
		wantStream(t, b.Store, counterStream, 4, 1, false)
	}},
	{"an aggregate whose past is hidden is an error, not a wrong state", func(t *testing.T, b Backend) {
		counting(t, eventsource.NewRepository(b.Store, snapping(1)), 4)
		truncated(t, b.Store, counterStream, 3)
		for _, d := range []eventsource.Decider[int, add, counterEvent]{counter, snapping(2), beginning()} {
			repo := eventsource.NewRepository(b.Store, d)
			var lost *eventsource.TruncatedError
			if got, err := repo.Load(t.Context(), "1"); !errors.As(err, &lost) || lost.First != 3 || lost.Stream != counterStream {
				t.Errorf("loaded %+v, %v", got, err)
			}
			if _, err := repo.Handle(t.Context(), "1", add{N: 1}); !errors.As(err, &lost) {
				t.Errorf("handled: %v", err)
			}
		}
		wantState(t, b.Store, snapping(1), 4, 4)
		truncated(t, b.Store, counterStream, 0)
		wantState(t, b.Store, snapping(2), 4, 4)
	}},
	{"a moment that is hidden is an error, one behind a snapshot is not", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, snapping(1))
		counting(t, repo, 3)
		if err := repo.Truncate(t.Context(), "1", 3); err != nil {
			t.Fatal(err)
		}
		counting(t, repo, 2)
		var lost *eventsource.TruncatedError
		if got, err := repo.LoadAt(t.Context(), "1", eventsource.AtVersion(2)); !errors.As(err, &lost) {
			t.Errorf("got %+v, %v", got, err)
		}
		if got, err := repo.LoadAt(t.Context(), "1", eventsource.AtVersion(4)); err != nil || got.State != 4 {
			t.Errorf("got %+v, %v", got, err)
		}
	}},
	{"a repeated command is found although it is hidden", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, snapping(1))
		first, err := repo.Handle(t.Context(), "1", add{N: 600}, eventsource.Idempotent("k"))
		if err != nil {
			t.Fatal(err)
		}
		counting(t, repo, 3)
		if err := repo.Truncate(t.Context(), "1", 4); err != nil {
			t.Fatal(err)
		}
		wantPurged(t, b.Store, counterStream, 100, 3)
		first.Replayed = true
		if again, err := repo.Handle(t.Context(), "1", add{N: 600}, eventsource.Idempotent("k")); err != nil || again != first {
			t.Errorf("got %+v, %v, want %+v", again, err, first)
		}
	}},
}
