package sqldb

import (
	"context"
	"database/sql"
)

// Tx is a transaction that its holder can use and cannot end. *sql.Tx
// satisfies it.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}
