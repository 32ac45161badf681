package sqldb

import (
	"context"
	"errors"
	"fmt"
	"time"
)

func (w *writer) begin(ctx context.Context) error {
	w.broken = nil
	w.begun = time.Now()
	if w.cache.full() {
		w.cache.clear()
	}
	if err := w.connect(ctx); err != nil {
		return err
	}
	st, err := w.control("BEGIN IMMEDIATE")
	if err != nil {
		return err
	}
	if _, err := st.ExecContext(ctx); err != nil {
		// Interrupted as it took effect, it may have begun.
		w.rollback()
		return fmt.Errorf("sqldb: begin: %w", err)
	}
	return nil
}

func (w *writer) commit() error {
	if w.broken != nil {
		return fmt.Errorf("sqldb: the transaction was rolled back: %w", w.broken)
	}
	if err := w.do("COMMIT"); err != nil {
		return fmt.Errorf("sqldb: commit: %w", err)
	}
	w.db.commits.add()
	return nil
}

// rollback ends the transaction if there is one, or else the connection.
func (w *writer) rollback() {
	if w.conn == nil {
		return
	}
	w.do("ROLLBACK") // fails if SQLite rolled back already
	if w.do("BEGIN") == nil && w.do("ROLLBACK") == nil {
		return // not inside a transaction any more
	}
	w.disconnect()
}

// undo takes back what was written since the savepoint.
func (w *writer) undo() {
	if w.broken != nil {
		return
	}
	if err := errors.Join(w.do("ROLLBACK TO follower"), w.do("RELEASE follower")); err != nil {
		w.broken = err
	}
}

// do runs a statement that controls the transaction.
func (w *writer) do(query string) error {
	st, err := w.control(query)
	if err != nil {
		return err
	}
	_, err = st.ExecContext(context.Background())
	return err
}

// note remembers that err cost the transaction.
func (w *writer) note(err error) {
	if err != nil && w.broken == nil && rollsBack(err) {
		w.broken = err
	}
}
