package sqlstore

import (
	"context"
	"iter"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/internal/eventtable"
	"github.com/cleave-go/cleave/sqldb"
)

// Setup creates the event tables in db if they are not there.
func Setup(ctx context.Context, db *sqldb.DB) error { return eventtable.Setup(ctx, db) }

// Store is an eventsource.Store over a database.
type Store struct {
	db       *sqldb.DB
	appender *eventtable.Appender // nil: Update makes one commit of what callers append
}

var (
	_ eventsource.Store     = (*Store)(nil)
	_ eventsource.Snapshots = (*Store)(nil)
	_ eventsource.Archives  = (*Store)(nil)
)

// New returns the store of the events in db.
func New(db *sqldb.DB) *Store {
	st := &Store{db: db}
	if db.Dialect() == sqldb.PostgreSQL {
		st.appender = eventtable.NewAppender(db)
	}
	return st
}

// Append implements eventsource.Store in a transaction of its own.
func (st *Store) Append(ctx context.Context, s event.Stream, x eventsource.Expect, recs ...event.Record) (eventsource.Commit, error) {
	if st.appender != nil {
		return st.appender.Append(ctx, s, x, recs)
	}
	var c eventsource.Commit
	err := st.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) (err error) {
		c, err = eventtable.Append(ctx, tx, s, x, recs)
		return err
	})
	if err != nil {
		return eventsource.Commit{}, err
	}
	return c, nil
}

// Read implements eventsource.Store.
func (st *Store) Read(ctx context.Context, s event.Stream, o eventsource.ReadOptions) iter.Seq2[event.Record, error] {
	return eventtable.Read(ctx, st.db, s, o)
}

// Feed implements eventsource.Store.
func (st *Store) Feed(ctx context.Context, o eventsource.FeedOptions) iter.Seq2[event.Record, error] {
	return eventtable.LiveFeed(ctx, st.db, o)
}

// Head implements eventsource.Store.
func (st *Store) Head(ctx context.Context) (event.Position, error) {
	return eventtable.Head(ctx, st.db)
}

// Epoch implements eventsource.Store.
func (st *Store) Epoch(ctx context.Context) (string, error) { return eventtable.Epoch(ctx, st.db) }

// Lookup implements eventsource.Store.
func (st *Store) Lookup(ctx context.Context, id event.ID) (eventsource.Commit, bool, error) {
	return eventtable.Lookup(ctx, st.db, id)
}

// In implements eventsource.Store.
func (st *Store) In(tx sqldb.Tx) eventsource.Store { return txStore{tx} }

// txStore is a Store inside a transaction.
type txStore struct{ tx sqldb.Tx }

func (st txStore) Append(ctx context.Context, s event.Stream, x eventsource.Expect, recs ...event.Record) (eventsource.Commit, error) {
	return eventtable.Append(ctx, st.tx, s, x, recs)
}

func (st txStore) Read(ctx context.Context, s event.Stream, o eventsource.ReadOptions) iter.Seq2[event.Record, error] {
	return eventtable.Read(ctx, st.tx, s, o)
}

func (st txStore) Feed(ctx context.Context, o eventsource.FeedOptions) iter.Seq2[event.Record, error] {
	if o.Live {
		return func(yield func(event.Record, error) bool) { yield(event.Record{}, eventsource.ErrLiveInTx) }
	}
	return eventtable.Feed(ctx, st.tx, o)
}

func (st txStore) Lookup(ctx context.Context, id event.ID) (eventsource.Commit, bool, error) {
	return eventtable.Lookup(ctx, st.tx, id)
}

func (st txStore) Head(ctx context.Context) (event.Position, error) {
	return eventtable.Head(ctx, st.tx)
}

func (st txStore) Epoch(ctx context.Context) (string, error) { return eventtable.Epoch(ctx, st.tx) }

func (st txStore) In(tx sqldb.Tx) eventsource.Store { return txStore{tx} }
