package sqlstore

import (
	"context"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/internal/eventtable"
	"github.com/cleave-go/cleave/sqldb"
)

// SavedState implements eventsource.Snapshots.
func (st *Store) SavedState(ctx context.Context, s event.Stream) (eventsource.SavedState, error) {
	return eventtable.SavedState(ctx, st.db, s)
}

// SaveState implements eventsource.Snapshots in a transaction of its own.
func (st *Store) SaveState(ctx context.Context, s event.Stream, state eventsource.SavedState) error {
	return st.update(ctx, func(ctx context.Context, in txStore) error { return in.SaveState(ctx, s, state) })
}

// StreamState implements eventsource.Archives.
func (st *Store) StreamState(ctx context.Context, s event.Stream) (eventsource.StreamState, error) {
	return eventtable.StreamState(ctx, st.db, s)
}

// Truncate implements eventsource.Archives in a transaction of its own.
func (st *Store) Truncate(ctx context.Context, s event.Stream, first uint64) error {
	return st.update(ctx, func(ctx context.Context, in txStore) error { return in.Truncate(ctx, s, first) })
}

// Purge implements eventsource.Archives in a transaction of its own.
func (st *Store) Purge(ctx context.Context, s event.Stream, upTo event.Position) (n int, err error) {
	err = st.update(ctx, func(ctx context.Context, in txStore) error {
		n, err = in.Purge(ctx, s, upTo)
		return err
	})
	return n, err
}

// Archive implements eventsource.Archives in a transaction of its own.
func (st *Store) Archive(ctx context.Context, s event.Stream) error {
	return st.update(ctx, func(ctx context.Context, in txStore) error { return in.Archive(ctx, s) })
}

// Unarchive implements eventsource.Archives in a transaction of its own.
func (st *Store) Unarchive(ctx context.Context, s event.Stream) error {
	return st.update(ctx, func(ctx context.Context, in txStore) error { return in.Unarchive(ctx, s) })
}

func (st *Store) update(ctx context.Context, f func(ctx context.Context, in txStore) error) error {
	return st.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error { return f(ctx, txStore{tx}) })
}

func (st txStore) SavedState(ctx context.Context, s event.Stream) (eventsource.SavedState, error) {
	return eventtable.SavedState(ctx, st.tx, s)
}

func (st txStore) SaveState(ctx context.Context, s event.Stream, state eventsource.SavedState) error {
	return eventtable.SaveState(ctx, st.tx, s, state)
}

func (st txStore) StreamState(ctx context.Context, s event.Stream) (eventsource.StreamState, error) {
	return eventtable.StreamState(ctx, st.tx, s)
}

func (st txStore) Truncate(ctx context.Context, s event.Stream, first uint64) error {
	return eventtable.Truncate(ctx, st.tx, s, first)
}

func (st txStore) Purge(ctx context.Context, s event.Stream, upTo event.Position) (int, error) {
	return eventtable.Purge(ctx, st.tx, s, upTo)
}

func (st txStore) Archive(ctx context.Context, s event.Stream) error {
	return eventtable.Archive(ctx, st.tx, s)
}

func (st txStore) Unarchive(ctx context.Context, s event.Stream) error {
	return eventtable.Unarchive(ctx, st.tx, s)
}
