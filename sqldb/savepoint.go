package sqldb

import (
	"context"
	"database/sql"
	"errors"
)

// Savepoint runs f and keeps what it wrote through tx only if f returns nil.
// When f returns an error or panics, that is undone and tx goes on. Savepoints
// nest.
func Savepoint(ctx context.Context, tx Tx, f func(ctx context.Context) error) error {
	control := func(query string) error {
		_, err := tx.ExecContext(context.WithoutCancel(ctx), query)
		return err
	}
	if t, ok := tx.(interface {
		check(context.Context) error
		control(query string) error
	}); ok {
		if err := t.check(ctx); err != nil {
			return err
		}
		control = t.control
	}
	if err := control("SAVEPOINT held"); err != nil {
		return err
	}
	stands := false
	defer func() {
		if !stands {
			control(rollbackToHeld)
			control("RELEASE held")
		}
	}()
	if err := f(ctx); err != nil {
		return err
	}
	err := control("RELEASE held")
	stands = err == nil
	return err
}

const rollbackToHeld = "ROLLBACK TO held"

// control runs a statement about a savepoint. If it fails the transaction is
// lost: what would be undone could not be.
func (t *writeTx) control(query string) error {
	if t.ended.Load() {
		return sql.ErrTxDone
	}
	if t.w.broken != nil {
		return t.w.broken
	}
	err := t.w.do(query)
	if err != nil {
		t.w.broken = errors.Join(errors.New("sqldb: "+query), err)
	}
	return err
}
