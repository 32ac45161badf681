package sqldb

import (
	"context"
	"database/sql"
)

// Queryer reads. *DB, Tx, *sql.DB and *sql.Tx satisfy it.
type Queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// Tx is a transaction that its holder can use and cannot end. *sql.Tx
// satisfies it.
type Tx interface {
	Queryer
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}
