package memstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/sqldb"
)

// changes is what is kept beside the records: all there is, or what the one
// who writes has changed of it.
type changes struct {
	rests  map[event.Stream]rest
	states map[event.Stream]eventsource.SavedState
	purged map[event.Position]bool
}

// rest is how far a stream was put to rest.
type rest struct {
	first    uint64
	purged   uint64 // version
	archived time.Time
}

func noChanges() changes {
	return changes{map[event.Stream]rest{}, map[event.Stream]eventsource.SavedState{}, map[event.Position]bool{}}
}

func (c changes) add(more changes) {
	maps.Copy(c.rests, more.rests)
	maps.Copy(c.states, more.states)
	maps.Copy(c.purged, more.purged)
}

func (st *Store) rest(s event.Stream, inTx bool) rest {
	if r, ok := st.pending.rests[s]; ok && inTx {
		return r
	}
	return st.aside.rests[s]
}

// gone reports whether the record at p was purged.
func (st *Store) gone(p event.Position, inTx bool) bool {
	return st.aside.purged[p] || inTx && st.pending.purged[p]
}

func (st *Store) savedState(s event.Stream, inTx bool) eventsource.SavedState {
	st.mu.RLock()
	defer st.mu.RUnlock()
	saved, ok := st.pending.states[s]
	if !ok || !inTx {
		saved = st.aside.states[s]
	}
	saved.State = slices.Clone(saved.State)
	return saved
}

func (st *Store) streamState(s event.Stream, inTx bool) eventsource.StreamState {
	st.mu.RLock()
	defer st.mu.RUnlock()
	version := uint64(0)
	for i, p := range slices.Backward(st.streams[s]) {
		if inTx || p <= event.Position(st.committed) {
			version = uint64(i + 1)
			break
		}
	}
	if version == 0 {
		return eventsource.StreamState{}
	}
	r := st.rest(s, inTx)
	return eventsource.StreamState{Version: version, First: max(r.first, 1), Archived: r.archived}
}

// SavedState implements eventsource.Snapshots.
func (st *Store) SavedState(ctx context.Context, s event.Stream) (eventsource.SavedState, error) {
	return st.savedState(s, false), ctx.Err()
}

// SaveState implements eventsource.Snapshots.
func (st *Store) SaveState(ctx context.Context, s event.Stream, state eventsource.SavedState) error {
	return st.update(ctx, func(in txStore) error { return in.SaveState(ctx, s, state) })
}

// StreamState implements eventsource.Archives.
func (st *Store) StreamState(ctx context.Context, s event.Stream) (eventsource.StreamState, error) {
	return st.streamState(s, false), ctx.Err()
}

// Truncate implements eventsource.Archives.
func (st *Store) Truncate(ctx context.Context, s event.Stream, first uint64) error {
	return st.update(ctx, func(in txStore) error { return in.Truncate(ctx, s, first) })
}

// Purge implements eventsource.Archives.
func (st *Store) Purge(ctx context.Context, s event.Stream, upTo event.Position) (n int, err error) {
	err = st.update(ctx, func(in txStore) error {
		n, err = in.Purge(ctx, s, upTo)
		return err
	})
	return n, err
}

// Archive implements eventsource.Archives.
func (st *Store) Archive(ctx context.Context, s event.Stream) error {
	return st.update(ctx, func(in txStore) error { return in.Archive(ctx, s) })
}

// Unarchive implements eventsource.Archives.
func (st *Store) Unarchive(ctx context.Context, s event.Stream) error {
	return st.update(ctx, func(in txStore) error { return in.Unarchive(ctx, s) })
}

func (st *Store) update(ctx context.Context, f func(in txStore) error) error {
	return st.Update(ctx, func(_ context.Context, t sqldb.Tx) error { return f(txStore{st, t.(*tx)}) })
}

func (t txStore) SavedState(ctx context.Context, s event.Stream) (eventsource.SavedState, error) {
	if err := t.check(ctx); err != nil {
		return eventsource.SavedState{}, err
	}
	return t.st.savedState(s, true), nil
}

func (t txStore) SaveState(ctx context.Context, s event.Stream, state eventsource.SavedState) error {
	if err := t.check(ctx); err != nil {
		return err
	}
	if err := eventsource.CheckState(s, state); err != nil {
		return err
	}
	old := t.st.savedState(s, true)
	if state.Schema < old.Schema || state.Schema == old.Schema && state.Version <= old.Version {
		return nil
	}
	state.State = slices.Clone(state.State)
	state.Time = state.Time.UTC().Truncate(time.Microsecond)
	t.st.mu.Lock()
	defer t.st.mu.Unlock()
	t.st.pending.states[s] = state
	return nil
}

func (t txStore) StreamState(ctx context.Context, s event.Stream) (eventsource.StreamState, error) {
	if err := t.check(ctx); err != nil {
		return eventsource.StreamState{}, err
	}
	return t.st.streamState(s, true), nil
}

func (t txStore) Truncate(ctx context.Context, s event.Stream, first uint64) error {
	return t.change(ctx, s, "truncate", func(r *rest) error {
		st := eventsource.StreamState{Version: uint64(len(t.st.streams[s]))}
		r.first = first
		return eventsource.CheckTruncate(s, st, first, r.purged)
	})
}

func (t txStore) Purge(ctx context.Context, s event.Stream, upTo event.Position) (n int, err error) {
	if state, err := t.StreamState(ctx, s); err != nil || state.Version == 0 {
		return 0, err
	}
	err = t.change(ctx, s, "purge", func(r *rest) error {
		for v := r.purged + 1; v < r.first && n < eventsource.MaxPurge; v++ {
			p := t.st.streams[s][v-1]
			if p > upTo {
				break
			}
			r.purged = v
			t.st.pending.purged[p] = true
			n++
		}
		return nil
	})
	return n, err
}

func (t txStore) Archive(ctx context.Context, s event.Stream) error {
	return t.change(ctx, s, "archive", func(r *rest) error {
		if r.archived.IsZero() {
			r.archived = time.Now().UTC().Truncate(time.Microsecond)
		}
		return nil
	})
}

func (t txStore) Unarchive(ctx context.Context, s event.Stream) error {
	return t.change(ctx, s, "unarchive", func(r *rest) error {
		r.archived = time.Time{}
		return nil
	})
}

// change lets f change how far a stream, which must be there, is put to rest.
func (t txStore) change(ctx context.Context, s event.Stream, what string, f func(r *rest) error) error {
	if err := t.check(ctx); err != nil {
		return err
	}
	t.st.mu.Lock()
	defer t.st.mu.Unlock()
	if len(t.st.streams[s]) == 0 {
		return fmt.Errorf("eventsource: %s %s: there is no such stream", what, s)
	}
	r := t.st.rest(s, true)
	if err := f(&r); err != nil {
		return err
	}
	t.st.pending.rests[s] = r
	return nil
}
