package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// sqlite is a file, written on one connection and read on several.
type sqlite struct {
	path    string
	writer  *writer
	readers *sql.DB
	queries statements // of readers
}

func openSQLite(ctx context.Context, db *DB, path string, o Options) error {
	if err := createFile(path); err != nil {
		return err
	}
	e := &sqlite{path: path}
	if err := e.open(ctx, db, o); err != nil {
		e.disconnect()
		return fmt.Errorf("sqldb: open %s: %w", path, err)
	}
	db.engine = e
	return nil
}

func (e *sqlite) open(ctx context.Context, db *DB, o Options) error {
	pool, err := sql.Open("sqlite", dsn(e.path, o.BusyTimeout,
		"synchronous(FULL)", "foreign_keys(1)", "journal_size_limit(67108864)"))
	if err != nil {
		return fmt.Errorf("%w (import modernc.org/sqlite, or package kit, which does)", err)
	}
	pool.SetMaxOpenConns(1)
	e.writer = newWriter(db, pool, o)
	if err := e.writer.enableWAL(ctx, o.BusyTimeout); err != nil {
		return err
	}
	if e.readers, err = sql.Open("sqlite", dsn(e.path, o.BusyTimeout, "query_only(1)")); err != nil {
		return err
	}
	e.readers.SetMaxOpenConns(o.Readers + 1) // one looks for foreign commits
	e.readers.SetMaxIdleConns(o.Readers + 1)
	e.queries.prepare = e.readers.PrepareContext
	w, err := watchFile(ctx, e.readers)
	if err != nil {
		return err
	}
	return db.commits.open(ctx, w, 50*time.Millisecond, 50*time.Millisecond)
}

func (e *sqlite) dialect() Dialect { return SQLite }
func (e *sqlite) pool() *sql.DB    { return e.readers }
func (e *sqlite) close() bool      { return e.writer.close() }
func (e *sqlite) isClosed() bool   { return e.writer.isClosed() }

func (e *sqlite) disconnect() error {
	var errs []error
	e.queries.clear()
	if e.readers != nil {
		errs = append(errs, e.readers.Close())
	}
	if e.writer != nil {
		errs = append(errs, e.writer.closePool())
	}
	return errors.Join(errs...)
}

func (e *sqlite) waiting() int {
	e.writer.mu.Lock()
	defer e.writer.mu.Unlock()
	return len(e.writer.queue)
}

func (e *sqlite) update(ctx context.Context, f func(context.Context, Tx) error) error {
	return e.writer.update(ctx, f)
}

// migrate is an update: no other runs beside it.
func (e *sqlite) migrate(ctx context.Context, f func(context.Context, Tx) error) error {
	return e.writer.update(ctx, f)
}

func (e *sqlite) write(ctx context.Context, query string, args []any, scan func(*sql.Rows) error) error {
	var scanned error
	err := e.writer.update(ctx, func(ctx context.Context, tx Tx) error {
		rows, err := tx.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		scanned, err = scanAll(rows, scan)
		return err
	})
	return errors.Join(err, scanned)
}

func (e *sqlite) view(ctx context.Context, f func(context.Context, Tx) error) error {
	tx, err := e.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return readError(e, err)
	}
	defer tx.Rollback()
	return f(ctx, tx)
}

func (e *sqlite) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	if st := e.queries.get(ctx, query, args); st != nil {
		return st.QueryContext(ctx, args...)
	}
	return e.readers.QueryContext(ctx, query, args...)
}

func (e *sqlite) queryRow(ctx context.Context, query string, args []any) *sql.Row {
	if st := e.queries.get(ctx, query, args); st != nil {
		return st.QueryRowContext(ctx, args...)
	}
	return e.readers.QueryRowContext(ctx, query, args...)
}

// fileWatcher notices that the file changed since it last looked.
type fileWatcher struct {
	conn    *sql.Conn
	st      *sql.Stmt
	version int64
}

func watchFile(ctx context.Context, pool *sql.DB) (*fileWatcher, error) {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	st, err := conn.PrepareContext(ctx, "PRAGMA data_version")
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &fileWatcher{conn: conn, st: st}, nil
}

func (w *fileWatcher) moved(ctx context.Context) (bool, error) {
	var v int64
	if err := w.st.QueryRowContext(ctx).Scan(&v); err != nil {
		return false, err
	}
	moved := v != w.version
	w.version = v
	return moved, nil
}

// close finalizes the statement: the driver does not close a connection that has
// one open.
func (w *fileWatcher) close() {
	w.st.Close()
	w.conn.Close()
}
