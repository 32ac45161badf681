package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"slices"
	"sync/atomic"
)

// postgresTx is the Tx of one function, on a connection that is its own for as
// long.
type postgresTx struct {
	e        *postgres
	conn     *sql.Conn
	ended    atomic.Bool
	rows     []*openRows // may hold the connection
	broken   error       // failed: the server refuses what comes until a savepoint is gone back to
	thwarted error       // by others, for good: the whole has to be run again
}

// Dialect tells DialectOf.
func (t *postgresTx) Dialect() Dialect { return PostgreSQL }

func (t *postgresTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := t.prepare(ctx, query); err != nil {
		return nil, err
	}
	result, err := t.conn.ExecContext(ctx, t.e.queries.numbered(query), args...)
	t.note(err)
	return result, err
}

// script runs what a migration holds, as it stands there.
func (t *postgresTx) script(ctx context.Context, text string) error {
	_, err := t.conn.ExecContext(ctx, text)
	t.note(err)
	return err
}

func (t *postgresTx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := t.query(ctx, query, args)
	if err != nil {
		return nil, err
	}
	return t.e.replay.QueryContext(context.WithoutCancel(ctx), "", rows)
}

func (t *postgresTx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	var answer any
	answer, err := t.query(ctx, query, args)
	if err != nil {
		answer = err
	}
	return t.e.replay.QueryRowContext(context.WithoutCancel(ctx), "", answer)
}

func (t *postgresTx) query(ctx context.Context, query string, args []any) (*openRows, error) {
	if err := t.prepare(ctx, query); err != nil {
		return nil, err
	}
	rows, err := t.conn.QueryContext(ctx, t.e.queries.numbered(query), args...)
	t.note(err)
	if err != nil {
		return nil, err
	}
	open, err := newOpenRows(rows)
	t.rows = append(t.rows, open)
	return open, err
}

// prepare makes the connection free for a query, if it may run.
func (t *postgresTx) prepare(ctx context.Context, query string) error {
	if err := t.check(ctx); err != nil {
		return err
	}
	t.keepRows()
	return checkWords(query)
}

// check reports why no more statement can run.
func (t *postgresTx) check(ctx context.Context) error {
	switch {
	case t.ended.Load():
		return sql.ErrTxDone
	case ctx.Err() != nil:
		return ctx.Err()
	case t.thwarted != nil:
		return t.thwarted
	}
	return nil
}

// note remembers what err means for the transaction.
func (t *postgresTx) note(err error) {
	if err == nil {
		return
	}
	if thwarts(err) && t.thwarted == nil {
		t.thwarted = err
	}
	if t.broken == nil && (sqlState(err) != "" || errors.Is(err, driver.ErrBadConn)) {
		t.broken = err
	}
}

// control runs a statement about a savepoint. Going back to one mends what a
// statement behind it broke.
func (t *postgresTx) control(query string) error {
	switch {
	case t.ended.Load():
		return sql.ErrTxDone
	case t.thwarted != nil:
		return t.thwarted
	}
	t.keepRows()
	_, err := t.conn.ExecContext(context.Background(), query)
	if err == nil && query == rollbackToHeld {
		t.broken = nil
	}
	t.note(err)
	return err
}

func (t *postgresTx) end() {
	t.ended.Store(true)
	for _, r := range t.rows {
		r.Close()
	}
	t.rows = nil
}

// keepRows frees the connection of rows that are not read yet.
func (t *postgresTx) keepRows() {
	t.rows = slices.DeleteFunc(t.rows, func(r *openRows) bool {
		more, err := r.keep()
		t.note(err)
		return !more
	})
}
