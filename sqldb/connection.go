package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"time"
)

// connect makes the writer's connection if there is none.
func (w *writer) connect(ctx context.Context) error {
	if w.conn != nil {
		return nil
	}
	conn, err := w.pool.Conn(ctx)
	if err != nil {
		return fmt.Errorf("sqldb: connect: %w", err)
	}
	w.conn = conn
	w.cache.prepare = func(ctx context.Context, query string) (*sql.Stmt, error) {
		if err := checkWords(query); err != nil {
			return nil, err
		}
		return conn.PrepareContext(ctx, query)
	}
	return nil
}

// disconnect drops a connection in an unknown state.
func (w *writer) disconnect() {
	if w.conn == nil {
		return
	}
	w.cache.clear()
	w.clearControls()
	w.conn.Raw(func(any) error { return driver.ErrBadConn }) // the pool drops it
	w.conn.Close()
	w.conn = nil
}

func (w *writer) clearControls() {
	for _, st := range w.controls {
		st.Close()
	}
	w.controls = nil
}

// control returns a prepared statement without arguments that yields no rows.
func (w *writer) control(query string) (*sql.Stmt, error) {
	if st := w.controls[query]; st != nil {
		return st, nil
	}
	if w.conn == nil {
		return nil, sql.ErrConnDone
	}
	st, err := w.conn.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	if w.controls == nil {
		w.controls = map[string]*sql.Stmt{}
	}
	w.controls[query] = st
	return st, nil
}

func (w *writer) closePool() error {
	w.cache.clear()
	w.clearControls()
	if w.conn != nil {
		w.conn.Close()
	}
	return w.pool.Close()
}

// enableWAL switches the file to a write-ahead log, which stays. Two processes
// that do it at once can meet a busy error that SQLite does not wait out.
func (w *writer) enableWAL(ctx context.Context, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		err := w.tryWAL(ctx)
		if code(err) != codeBusy || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func (w *writer) tryWAL(ctx context.Context) error {
	if err := w.connect(ctx); err != nil {
		return err
	}
	var mode string
	if err := w.conn.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("the file system allows no write-ahead log (journal mode %s): use a local disk", mode)
	}
	return nil
}
