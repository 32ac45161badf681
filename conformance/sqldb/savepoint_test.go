package sqldb_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/cleave-go/cleave/conformance/internal/dbtest"
	"github.com/cleave-go/cleave/sqldb"
)

func TestSavepointTakesBackOnlyItsOwnWrites(t *testing.T) {
	dbtest.Each(t, savepointTakesBackOnlyItsOwnWrites)
}

func savepointTakesBackOnlyItsOwnWrites(t *testing.T, e dbtest.Engine) {
	ctx := t.Context()
	db := e.Open(t, nil)
	boom := errors.New("boom")
	err := db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		write := func(n int) {
			t.Helper()
			if _, err := tx.ExecContext(ctx, "INSERT INTO t VALUES (?)", n); err != nil {
				t.Error(err)
			}
		}
		if _, err := tx.ExecContext(ctx, "CREATE TABLE t (n INTEGER)"); err != nil {
			return err
		}
		write(1)
		got := sqldb.Savepoint(ctx, tx, func(ctx context.Context) error {
			write(2)
			return sqldb.Savepoint(ctx, tx, func(context.Context) error { write(3); return boom })
		})
		if got != boom {
			t.Errorf("got %v, want the function's error", got)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic was swallowed")
				}
			}()
			sqldb.Savepoint(ctx, tx, func(context.Context) error { write(4); panic("stop") })
		}()
		return sqldb.Savepoint(ctx, tx, func(ctx context.Context) error {
			write(5)
			if err := sqldb.Savepoint(ctx, tx, func(context.Context) error { write(6); return boom }); err != boom {
				t.Errorf("got %v", err)
			}
			return sqldb.Savepoint(ctx, tx, func(context.Context) error { write(7); return nil })
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := db.QueryContext(ctx, "SELECT n FROM t ORDER BY n")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var got []int
	for rows.Next() {
		var n int
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		got = append(got, n)
	}
	if want := []int{1, 5, 7}; !slices.Equal(got, want) {
		t.Errorf("the table holds %v, want %v", got, want)
	}
}

func TestASavepointMendsWhatAStatementBroke(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := openTemp(t, e)
		err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
			if err := write(1)(ctx, tx); err != nil {
				return err
			}
			if err := sqldb.Savepoint(ctx, tx, func(ctx context.Context) error { return write(1)(ctx, tx) }); err == nil {
				t.Error("a key was written twice")
			}
			return write(2)(ctx, tx)
		})
		if err != nil {
			t.Fatal(err)
		}
		wantNotes(t, db, "1 2")
	})
}
