package memstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"iter"
	"sync/atomic"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/sqldb"
)

// ErrNoSQL is the answer to every statement in a memstore's transaction.
var ErrNoSQL = errors.New("memstore: a transaction in memory runs no SQL")

var errForeignTx = errors.New("memstore: In needs a transaction of Update of the same store")

// In implements eventsource.Store for the transactions of Update.
func (st *Store) In(t sqldb.Tx) eventsource.Store {
	own, _ := t.(*tx)
	if own != nil && own.st != st {
		own = nil
	}
	return txStore{st, own}
}

// tx marks a running Update.
type tx struct {
	st    *Store
	ended atomic.Bool
}

func (*tx) ExecContext(context.Context, string, ...any) (sql.Result, error) { return nil, ErrNoSQL }
func (*tx) QueryContext(context.Context, string, ...any) (*sql.Rows, error) { return nil, ErrNoSQL }
func (*tx) QueryRowContext(ctx context.Context, _ string, _ ...any) *sql.Row {
	db := sql.OpenDB(noSQL{})
	defer db.Close()
	return db.QueryRowContext(ctx, "")
}

// noSQL makes database/sql answer ErrNoSQL: a Row can be had only there.
type noSQL struct{}

func (noSQL) Connect(context.Context) (driver.Conn, error) { return nil, ErrNoSQL }
func (noSQL) Driver() driver.Driver                        { return noSQL{} }
func (noSQL) Open(string) (driver.Conn, error)             { return nil, ErrNoSQL }

// txStore is a Store inside a transaction, which is nil if it is none of ours.
type txStore struct {
	st *Store
	tx *tx
}

func (t txStore) check(ctx context.Context) error {
	switch {
	case t.tx == nil:
		return errForeignTx
	case t.tx.ended.Load():
		return sql.ErrTxDone
	}
	return ctx.Err()
}

func (t txStore) Append(ctx context.Context, s event.Stream, x eventsource.Expect, recs ...event.Record) (eventsource.Commit, error) {
	if err := t.check(ctx); err != nil {
		return eventsource.Commit{}, err
	}
	return t.st.append(s, x, recs)
}

func (t txStore) Read(ctx context.Context, s event.Stream, o eventsource.ReadOptions) iter.Seq2[event.Record, error] {
	return t.checked(ctx, t.st.read(ctx, s, o, true))
}

func (t txStore) Feed(ctx context.Context, o eventsource.FeedOptions) iter.Seq2[event.Record, error] {
	if o.Live {
		return func(yield func(event.Record, error) bool) { yield(event.Record{}, eventsource.ErrLiveInTx) }
	}
	return t.checked(ctx, t.st.feed(ctx, o, true))
}

func (t txStore) checked(ctx context.Context, seq iter.Seq2[event.Record, error]) iter.Seq2[event.Record, error] {
	return func(yield func(event.Record, error) bool) {
		if err := t.check(ctx); err != nil {
			yield(event.Record{}, err)
			return
		}
		seq(yield)
	}
}

func (t txStore) Lookup(ctx context.Context, id event.ID) (eventsource.Commit, bool, error) {
	if err := t.check(ctx); err != nil {
		return eventsource.Commit{}, false, err
	}
	return t.st.lookup(ctx, id, true)
}

func (t txStore) Head(ctx context.Context) (event.Position, error) {
	if err := t.check(ctx); err != nil {
		return 0, err
	}
	t.st.mu.RLock()
	defer t.st.mu.RUnlock()
	return event.Position(len(t.st.records)), nil
}

func (t txStore) Epoch(ctx context.Context) (string, error) {
	if err := t.check(ctx); err != nil {
		return "", err
	}
	return t.st.epoch, nil
}

func (t txStore) In(tx sqldb.Tx) eventsource.Store { return t.st.In(tx) }
