package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
)

// SQLite's primary result codes that this package tells apart.
const (
	codeBusy      = 5
	codeNoMem     = 7
	codeInterrupt = 9
	codeIOErr     = 10
	codeFull      = 13
	codeMisuse    = 21
)

// code returns the primary result code in err, 0 if there is none.
func code(err error) int {
	var coded interface{ Code() int }
	if errors.As(err, &coded) {
		return coded.Code() & 0xff
	}
	return 0
}

// isMisuse reports that a prepared statement was asked again while its rows
// were open.
func isMisuse(err error) bool { return err != nil && code(err) == codeMisuse }

// rollsBack reports whether SQLite may have rolled the whole transaction back.
func rollsBack(err error) bool {
	switch code(err) {
	case codeBusy, codeNoMem, codeInterrupt, codeIOErr, codeFull:
		return true
	}
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
}

// rowOf returns a Row whose Scan answers err.
func rowOf(err error) *sql.Row {
	db := sql.OpenDB(failing{err})
	defer db.Close()
	return db.QueryRowContext(context.Background(), "")
}

type failing struct{ err error }

func (f failing) Connect(context.Context) (driver.Conn, error) { return nil, f.err }
func (f failing) Driver() driver.Driver                        { return f }
func (f failing) Open(string) (driver.Conn, error)             { return nil, f.err }
