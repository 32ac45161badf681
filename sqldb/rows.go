package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"sync"
)

// openRows are the rows of a query in a transaction of PostgreSQL, whose
// connection can do only one thing at a time: when the next statement comes
// before they are read, the rest of them is kept in memory.
type openRows struct {
	mu      sync.Mutex
	rows    *sql.Rows // nil: all are kept
	columns []string
	kept    [][]driver.Value
	err     error // behind the kept
}

func newOpenRows(rows *sql.Rows) (*openRows, error) {
	columns, err := rows.Columns()
	return &openRows{rows: rows, columns: columns}, err
}

// keep reads what is left and frees the connection. It reports whether somebody
// may still want some of it.
func (r *openRows) keep() (more bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.rows != nil {
		if values := r.read(); values != nil {
			r.kept = append(r.kept, values)
		}
	}
	return len(r.kept) > 0, r.err
}

// read returns the next row; behind the last one it returns nil and r.rows is.
func (r *openRows) read() []driver.Value {
	if r.rows.Next() {
		values := make([]driver.Value, len(r.columns))
		into := make([]any, len(values))
		for i := range values {
			into[i] = (*any)(&values[i])
		}
		if r.err = r.rows.Scan(into...); r.err == nil {
			return values
		}
	}
	r.err = errors.Join(r.err, r.rows.Err())
	r.rows.Close()
	r.rows = nil
	return nil
}

func (r *openRows) Columns() []string { return r.columns }

func (r *openRows) Next(dest []driver.Value) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var values []driver.Value
	if len(r.kept) > 0 {
		values, r.kept = r.kept[0], r.kept[1:]
	} else if r.rows != nil {
		values = r.read()
	}
	switch {
	case values != nil:
		copy(dest, values)
		return nil
	case r.err != nil:
		return r.err
	}
	return io.EOF
}

func (r *openRows) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept = nil
	if r.rows == nil {
		return nil
	}
	err := r.rows.Close()
	r.rows = nil
	return err
}

// replay is a driver that answers a query with its one argument: *openRows, or
// an error.
type replay struct{}

func (replay) Connect(context.Context) (driver.Conn, error) { return replay{}, nil }
func (replay) Driver() driver.Driver                        { return replay{} }
func (replay) Open(string) (driver.Conn, error)             { return replay{}, nil }
func (replay) Prepare(string) (driver.Stmt, error)          { return nil, errors.ErrUnsupported }
func (replay) Begin() (driver.Tx, error)                    { return nil, errors.ErrUnsupported }
func (replay) Close() error                                 { return nil }
func (replay) CheckNamedValue(*driver.NamedValue) error     { return nil }

func (replay) QueryContext(_ context.Context, _ string, args []driver.NamedValue) (driver.Rows, error) {
	switch answer := args[0].Value.(type) {
	case *openRows:
		return answer, nil
	case error:
		return nil, answer
	}
	return nil, errors.ErrUnsupported
}
