package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
)

// maxStatements bounds a cache of prepared statements. What comes later runs
// unprepared; the writer empties a full cache between transactions.
const maxStatements = 512

// statements prepares each query once. Preparing costs more than most queries
// of a service do.
type statements struct {
	prepare func(ctx context.Context, query string) (*sql.Stmt, error)
	mu      sync.RWMutex
	byQuery map[string]*sql.Stmt
}

// get returns nil if the query must run unprepared: it has no arguments, or it
// cannot be prepared, and running it tells why. A prepared statement without
// arguments that is asked again while its rows are open would go on where it
// stands; with arguments SQLite refuses that, see isMisuse.
func (s *statements) get(ctx context.Context, query string, args []any) *sql.Stmt {
	if len(args) == 0 {
		return nil
	}
	s.mu.RLock()
	st, full := s.byQuery[query], len(s.byQuery) >= maxStatements
	s.mu.RUnlock()
	if st != nil || full {
		return st
	}
	st, err := s.prepare(context.WithoutCancel(ctx), query)
	if err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.byQuery[query]; other != nil {
		st.Close()
		return other
	}
	if s.byQuery == nil {
		s.byQuery = map[string]*sql.Stmt{}
	}
	s.byQuery[query] = st
	return st
}

func (s *statements) full() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.byQuery) >= maxStatements
}

func (s *statements) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.byQuery {
		st.Close()
	}
	s.byQuery = nil
}

// writeTx is the Tx of one function given to Update. It runs statements on the
// writer's connection through its cache, and keeps them whole: SQLite rolls a
// transaction back when one of its writes is interrupted, and with it the
// writes of all that share it.
type writeTx struct {
	w     *writer
	ended atomic.Bool
	rows  []*sql.Rows
}

func (t *writeTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	st, err := t.statement(ctx, query, args)
	if err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	var result sql.Result
	if st != nil {
		result, err = st.ExecContext(ctx, args...)
	} else {
		result, err = t.w.conn.ExecContext(ctx, query, args...)
	}
	t.w.note(err)
	return result, err
}

func (t *writeTx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	st, err := t.statement(ctx, query, args)
	if err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx)
	var rows *sql.Rows
	if st != nil {
		rows, err = st.QueryContext(ctx, args...)
	}
	if st == nil || isMisuse(err) {
		rows, err = t.w.conn.QueryContext(ctx, query, args...)
	}
	t.w.note(err)
	if err == nil {
		t.rows = append(t.rows, rows)
	}
	return rows, err
}

func (t *writeTx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	st, err := t.statement(ctx, query, args)
	if err != nil {
		return rowOf(err)
	}
	ctx = context.WithoutCancel(ctx)
	var row *sql.Row
	if st != nil {
		row = st.QueryRowContext(ctx, args...)
	}
	if st == nil || isMisuse(row.Err()) {
		row = t.w.conn.QueryRowContext(ctx, query, args...)
	}
	t.w.note(row.Err())
	return row
}

// statement returns the prepared query, or nil if it must run unprepared.
func (t *writeTx) statement(ctx context.Context, query string, args []any) (*sql.Stmt, error) {
	if err := t.check(ctx); err != nil {
		return nil, err
	}
	if st := t.w.cache.get(ctx, query, args); st != nil {
		return st, nil
	}
	return nil, checkWords(query)
}

// end makes the Tx useless to those who kept it, and closes what they left open.
func (t *writeTx) end() {
	t.ended.Store(true)
	for _, r := range t.rows {
		r.Close()
	}
	t.rows = nil
}

// check reports why no more statement can run.
func (t *writeTx) check(ctx context.Context) error {
	switch {
	case t.ended.Load():
		return sql.ErrTxDone
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return t.w.broken
}

// checkWords refuses what would end the transaction. What is in the writer's
// cache has passed.
func checkWords(query string) error {
	if word := firstWord(query); transactionWords[word] {
		return fmt.Errorf("sqldb: %s is not for the holder of a Tx: Update begins and ends the transaction", word)
	}
	return nil
}

var transactionWords = map[string]bool{
	"BEGIN": true, "COMMIT": true, "END": true, "ROLLBACK": true, "SAVEPOINT": true, "RELEASE": true,
	"START": true, "ABORT": true, "ATTACH": true, "DETACH": true, "VACUUM": true,
}

func firstWord(query string) string {
	query = strings.TrimLeft(query, " \t\r\n;")
	end := 0
	for end < len(query) && (query[end]|0x20) >= 'a' && (query[end]|0x20) <= 'z' {
		end++
	}
	if end > len("SAVEPOINT") {
		return ""
	}
	return strings.ToUpper(query[:end])
}
