package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/cleave-go/cleave/conformance/internal/dbtest"
	"github.com/cleave-go/cleave/conformance/internal/pgtest"
	"github.com/cleave-go/cleave/sqldb"
)

// What is PostgreSQL's own: transactions that run beside each other.

func TestPlaceholdersAreReplacedOutsideOfQuotesAndComments(t *testing.T) {
	db := dbtest.PostgreSQL.Open(t, nil)
	for query, want := range map[string]string{
		"SELECT ?::text || ?::text":                                    "ab",
		"SELECT '?' || ?::text || ?::text":                             "?ab",
		"SELECT 'it''s ?' || ?::text || ?::text":                       "it's ?ab",
		`SELECT E'\'?' || ?::text || ?::text`:                          "'?ab",
		`SELECT ?::text || '\' || ?::text`:                             `a\b`,
		`SELECT "?" || ?::text FROM (SELECT ?::text "?") x`:            "ba",
		"SELECT ?::text -- what?\n || ?::text":                         "ab",
		"SELECT ?::text /* ? /* ? */ ? */ || ?::text":                  "ab",
		"SELECT $$?$$ || ?::text || ?::text":                           "?ab",
		"SELECT $x$?$$?$x$ || ?::text || ?::text":                      "?$$?ab",
		`SELECT ?::text || ?::text || ('{"k":1}'::jsonb ?? 'k')::text`: "abtrue",
		"SELECT ?2::text || ?1::text || ?2::text":                      "bab",
		"SELECT $2::text || $1::text":                                  "ba",
	} {
		for range 2 {
			var got string
			if err := db.QueryRowContext(t.Context(), query, "a", "b").Scan(&got); err != nil || got != want {
				t.Errorf("%s: got %q, %v, want %q", query, got, err, want)
			}
		}
	}
}

func TestTransactionsBesideEachOtherAreAsIfOneCameBehindTheOther(t *testing.T) {
	db := open(t, dbtest.PostgreSQL.URL(t), &sqldb.Options{Writers: 8})
	var runs atomic.Int64
	var wg sync.WaitGroup
	const each = 25
	for range 8 {
		wg.Go(func() {
			for range each {
				err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
					runs.Add(1)
					var n int
					if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM note").Scan(&n); err != nil {
						return err
					}
					return write(n)(ctx, tx)
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := len(strings.Fields(notes(t, db))); got != 8*each {
		t.Errorf("%d notes, want %d", got, 8*each)
	}
	t.Logf("%d transactions in %d runs", 8*each, runs.Load())
}

func TestAReadThatAnotherMadeStaleRunsTheFunctionAgain(t *testing.T) {
	url := dbtest.PostgreSQL.URL(t)
	db, other := open(t, url, nil), open(t, url, nil)
	for name, swallow := range map[string]bool{"which returns the error": false, "which swallows the error": true} {
		t.Run(name, func(t *testing.T) {
			if err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
				_, err := tx.ExecContext(ctx, "DELETE FROM note")
				return errors.Join(err, write(1)(ctx, tx))
			}); err != nil {
				t.Fatal(err)
			}
			runs := 0
			change := func(ctx context.Context, tx sqldb.Tx) error {
				_, err := tx.ExecContext(ctx, "UPDATE note SET n = n + 1")
				return err
			}
			err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
				wantNotes(t, tx, []string{"1", "2"}[runs])
				if runs++; runs == 1 {
					if err := other.Update(t.Context(), change); err != nil {
						t.Error(err)
					}
				}
				err := sqldb.Savepoint(ctx, tx, func(ctx context.Context) error { return change(ctx, tx) })
				if swallow {
					return nil
				}
				return err
			})
			if err != nil || runs != 2 {
				t.Errorf("%d runs, %v", runs, err)
			}
			wantNotes(t, db, "3")
		})
	}
}

func TestAStatementThatFailedIsNotCommittedAround(t *testing.T) {
	db := openTemp(t, dbtest.PostgreSQL)
	err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		if err := write(1)(ctx, tx); err != nil {
			return err
		}
		rows, err := tx.QueryContext(ctx, "SELECT 1 / (3 - n) FROM generate_series(1, 5) n")
		if err != nil {
			return err
		}
		for rows.Next() { // the third fails, and nobody asks for rows.Err
		}
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "rolled back") && !strings.Contains(err.Error(), "aborted") {
		t.Errorf("got %v", err)
	}
	wantNotes(t, db, "")
}

func TestALockThatAnotherHoldsTooLongIsAnError(t *testing.T) {
	url := dbtest.PostgreSQL.URL(t)
	holder, db := open(t, url, nil), open(t, url, &sqldb.Options{BusyTimeout: 50 * time.Millisecond})
	lock := func(ctx context.Context, tx sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, "LOCK TABLE note IN EXCLUSIVE MODE")
		return err
	}
	err := holder.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		if err := lock(ctx, tx); err != nil {
			return err
		}
		if err := db.Update(t.Context(), write(2)); err == nil || !strings.Contains(err.Error(), "lock timeout") {
			t.Errorf("got %v", err)
		}
		return write(1)(ctx, tx)
	})
	if err := errors.Join(err, db.Update(t.Context(), write(3))); err != nil {
		t.Fatal(err)
	}
	wantNotes(t, db, "1 3")
}

func TestADeadlockRunsOneOfTheTwoAgain(t *testing.T) {
	db := open(t, dbtest.PostgreSQL.URL(t), nil)
	files := fstest.MapFS{"pair.sql": {Data: []byte("CREATE TABLE pair (name TEXT PRIMARY KEY, n BIGINT); INSERT INTO pair VALUES ('a', 0), ('b', 0)")}}
	if err := db.Migrate(t.Context(), files); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var both sync.WaitGroup
	both.Add(2)
	for _, order := range [][2]string{{"a", "b"}, {"b", "a"}} {
		wg.Go(func() {
			first := true
			err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
				for i, name := range order {
					if _, err := tx.ExecContext(ctx, "UPDATE pair SET n = n + 1 WHERE name = ?", name); err != nil {
						return err
					}
					if i == 0 && first {
						first = false
						both.Done()
						both.Wait()
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	var sum int
	if err := db.QueryRowContext(t.Context(), "SELECT sum(n) FROM pair").Scan(&sum); err != nil || sum != 4 {
		t.Errorf("the sum is %d, %v", sum, err)
	}
}

func TestADBOutlivesARestartOfItsServer(t *testing.T) {
	s, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	name, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	db := open(t, s.URL("app", name), nil)
	if err := db.Update(t.Context(), write(1)); err != nil {
		t.Fatal(err)
	}
	s.Crash()
	if err := db.Update(t.Context(), write(2)); err == nil {
		t.Error("a server that is down committed")
	}
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
	if err := db.Update(t.Context(), write(3)); err != nil {
		t.Fatal(err)
	}
	wantNotes(t, db, "1 3")
}

func TestWriteIsATransactionOfItsOwn(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := openTemp(t, e)
		seen := db.Committed()
		var got []int
		add := func(n int) error {
			return db.Write(t.Context(), "INSERT INTO note (n) VALUES (?), (?) RETURNING n", []any{n, n + 1}, func(rows *sql.Rows) error {
				var n int
				err := rows.Scan(&n)
				got = append(got, n)
				return err
			})
		}
		if err := add(1); err != nil || len(got) != 2 || got[0] != 1 || got[1] != 2 {
			t.Errorf("got %v, %v", got, err)
		}
		if db.Committed() == seen {
			t.Error("nobody was told of the commit")
		}
		if err := add(2); err == nil {
			t.Error("a key was written twice")
		}
		if err := db.Write(t.Context(), "INSERT INTO note (n) VALUES (?)", []any{3}, nil); err != nil {
			t.Error(err)
		}
		err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
			return db.Write(ctx, "DELETE FROM note", nil, nil)
		})
		if err != sqldb.ErrNested {
			t.Errorf("got %v", err)
		}
		wantNotes(t, db, "1 2 3")
	})
}

func TestAnErrorOfOpenHoldsNoPassword(t *testing.T) {
	url := strings.Replace(dbtest.PostgreSQL.URL(t), "postgres:///", "postgres://app:sesame@/", 1)
	for what, bad := range map[string]string{
		"no such host":     strings.Replace(url, "host=", "host=nowhere.invalid%2C", 1) + "&target_session_attrs=standby&connect_timeout=1",
		"no such database": strings.Replace(url, "@/", "@/no", 1),
		"no such role":     strings.Replace(url, "user=app", "user=nobody", 1),
		"a bad setting":    url + "&connect_timeout=soon",
	} {
		db, err := sqldb.Open(t.Context(), bad, nil)
		if err == nil {
			db.Close()
			t.Errorf("%s: it opened", what)
		} else if strings.Contains(err.Error(), "sesame") {
			t.Errorf("%s: %v", what, err)
		}
	}
}
