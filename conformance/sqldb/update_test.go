package sqldb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/cleave-go/cleave/conformance/internal/dbtest"
	"github.com/cleave-go/cleave/sqldb"
)

func TestAnErrorUndoesTheTransactionAndComesBackAsItIs(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := openTemp(t, e)
		err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
			if err := write(1)(ctx, tx); err != nil {
				t.Error(err)
			}
			wantNotes(t, tx, "1")
			wantNotes(t, db, "")
			return errUndo
		})
		if err != errUndo {
			t.Errorf("got %v", err)
		}
		wantNotes(t, db, "")
	})
}

func TestACallerThatFailsUndoesOnlyItsOwnWrites(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		fails := func(n int) body {
			return func(ctx context.Context, tx sqldb.Tx) error {
				write(n)(ctx, tx)
				return errUndo
			}
		}
		t.Run("when it shares the leader's transaction", func(t *testing.T) {
			db := openTemp(t, e)
			errs := together(t, db, write(1), fails(2), write(3), fails(4), write(1), write(5))
			for i, want := range []bool{true, false, true, false, false, true} {
				if (errs[i] == nil) != want {
					t.Errorf("caller %d got %v", i, errs[i])
				}
			}
			if errs[1] != errUndo {
				t.Errorf("got %v", errs[1])
			}
			wantNotes(t, db, "1 3 5")
		})
		t.Run("when it is the leader", func(t *testing.T) {
			db := openTemp(t, e)
			errs := together(t, db, fails(1), write(2), write(3))
			if errs[0] != errUndo || errs[1] != nil || errs[2] != nil {
				t.Errorf("got %v", errs)
			}
			wantNotes(t, db, "2 3")
		})
	})
}

func TestAPanicUndoesAndContinuesInItsCaller(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		for _, leader := range []bool{true, false} {
			t.Run(fmt.Sprintf("leader %v", leader), func(t *testing.T) {
				db := openTemp(t, e)
				bodies := []body{write(1), write(2), write(3)}
				at := 1
				if leader {
					at = 0
				}
				bodies[at] = func(ctx context.Context, tx sqldb.Tx) error {
					write(9)(ctx, tx)
					panic(errUndo)
				}
				caught := make(chan any, 1)
				var wg sync.WaitGroup
				gate := make(chan struct{})
				for i, f := range bodies {
					wg.Go(func() {
						defer func() {
							if v := recover(); v != nil {
								caught <- v
							}
						}()
						err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
							if i == 0 {
								close(gate)
								waitFor(func() bool { return db.Waiting() == 2 })
							}
							return f(ctx, tx)
						})
						if err != nil {
							t.Error(err)
						}
					})
					<-gate
				}
				wg.Wait()
				if v := <-caught; v != errUndo {
					t.Errorf("recovered %v", v)
				}
				want := "1 3"
				if leader {
					want = "2 3"
				}
				wantNotes(t, db, want)
			})
		}
	})
}

func TestAGoroutineThatEndsInUpdateUndoesOnlyItsOwnWrites(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		for _, at := range []int{0, 1} {
			db := openTemp(t, e)
			bodies := []body{write(1), write(2), write(3)}
			reached := false
			bodies[at] = func(ctx context.Context, tx sqldb.Tx) error {
				write(9)(ctx, tx)
				reached = true
				runtime.Goexit()
				return nil
			}
			errs := together(t, db, bodies...)
			for i, err := range errs {
				if err != nil {
					t.Errorf("caller %d got %v", i, err)
				}
			}
			if !reached {
				t.Error("the function did not run")
			}
			wantNotes(t, db, []string{"2 3", "1 3"}[at])
		}
	})
}

func TestAContextThatEndsInTheQueueMeansNotRun(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := openTemp(t, e)
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error, 1)
		err := db.Update(t.Context(), func(c context.Context, tx sqldb.Tx) error {
			go func() { result <- db.Update(ctx, write(2)) }()
			waitFor(func() bool { return db.Waiting() == 1 })
			cancel()
			if err := <-result; err != context.Canceled {
				t.Errorf("got %v", err)
			}
			return write(1)(c, tx)
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := db.Update(ctx, write(3)); err != context.Canceled {
			t.Errorf("got %v", err)
		}
		wantNotes(t, db, "1")
	})
}

func TestAContextThatEndsWhileRunningRefusesTheNextStatement(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := openTemp(t, e)
		errs := together(t, db, write(1), func(_ context.Context, tx sqldb.Tx) error {
			ctx, cancel := context.WithCancel(t.Context())
			if err := write(2)(ctx, tx); err != nil {
				t.Error(err)
			}
			cancel()
			var n int
			if err := tx.QueryRowContext(ctx, "SELECT 1").Scan(&n); err != context.Canceled {
				t.Errorf("got %v", err)
			}
			return write(3)(ctx, tx)
		}, write(4))
		if errs[0] != nil || errs[1] != context.Canceled || errs[2] != nil {
			t.Errorf("got %v", errs)
		}
		wantNotes(t, db, "1 4")
	})
}

func TestUpdateInsideUpdateIsAnError(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := openTemp(t, e)
		err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error { return db.Update(ctx, write(1)) })
		if err != sqldb.ErrNested {
			t.Errorf("got %v", err)
		}
		other := openTemp(t, e)
		err = db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error { return other.Update(ctx, write(1)) })
		if err != nil {
			t.Errorf("another database: %v", err)
		}
	})
}

func TestATxCannotEndItsTransactionAndNotBeUsedAfterIt(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := openTemp(t, e)
		var kept sqldb.Tx
		var rows *sql.Rows
		err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
			kept = tx
			for _, query := range []string{"COMMIT", " rollback", "BEGIN", "END", "savepoint x", "VACUUM", "ATTACH 'x' AS x", ";release x"} {
				if _, err := tx.ExecContext(ctx, query); err == nil || !strings.Contains(err.Error(), "Update begins and ends") {
					t.Errorf("%s: %v", query, err)
				}
			}
			rows, _ = tx.QueryContext(ctx, "SELECT 1 UNION SELECT 2")
			return write(1)(ctx, tx)
		})
		if err != nil {
			t.Fatal(err)
		}
		if rows.Next() {
			t.Error("rows outlived their transaction")
		}
		if err := write(2)(t.Context(), kept); err != sql.ErrTxDone {
			t.Errorf("got %v", err)
		}
		var n int
		if err := kept.QueryRowContext(t.Context(), "SELECT 1").Scan(&n); err != sql.ErrTxDone {
			t.Errorf("got %v", err)
		}
		wantNotes(t, db, "1")
	})
}

func TestAViewSeesOneSnapshotAndCannotWrite(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := openTemp(t, e)
		err := db.View(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
			wantNotes(t, tx, "")
			if err := db.Update(t.Context(), write(1)); err != nil {
				return err
			}
			wantNotes(t, tx, "")
			if err := write(2)(ctx, tx); err == nil {
				t.Error("it wrote")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		wantNotes(t, db, "1")
		rows, err := db.QueryContext(t.Context(), "DELETE FROM note WHERE n = ? RETURNING n", 1)
		if err == nil {
			rows.Close()
			t.Error("a query wrote")
		}
	})
}

func TestCloseAnswersThoseWhoWaitAndIsFinal(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := openTemp(t, e)
		waiting, closed := make(chan error, 1), make(chan error, 1)
		await := make(chan error, 1)
		err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
			go func() {
				n := db.Committed()
				_, err := db.AwaitCommit(t.Context(), n+100)
				await <- err
			}()
			go func() { waiting <- db.Update(t.Context(), write(2)) }()
			waitFor(func() bool { return db.Waiting() == 1 })
			go func() { closed <- db.Close() }()
			return write(1)(ctx, tx)
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := <-waiting; err != nil && err != sqldb.ErrClosed {
			t.Errorf("the waiting caller got %v", err)
		}
		if err := <-await; err != sqldb.ErrClosed {
			t.Errorf("AwaitCommit got %v", err)
		}
		if err := errors.Join(<-closed, db.Close()); err != nil {
			t.Error(err)
		}
		if err := db.Update(t.Context(), write(3)); err != sqldb.ErrClosed {
			t.Errorf("got %v", err)
		}
		if err := db.View(t.Context(), write(3)); err != sqldb.ErrClosed {
			t.Errorf("got %v", err)
		}
		if _, err := db.QueryContext(t.Context(), "SELECT 1"); err != sqldb.ErrClosed {
			t.Errorf("got %v", err)
		}
	})
}

func TestOneQueryMayBeAskedAgainWhileItsRowsAreOpen(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := openTemp(t, e)
		err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
			for n := range 3 {
				if err := write(n)(ctx, tx); err != nil {
					return err
				}
			}
			const query = "SELECT n FROM note WHERE n >= ? ORDER BY n"
			var got []int
			rows, err := tx.QueryContext(ctx, query, 0)
			if err != nil {
				return err
			}
			for rows.Next() {
				var n, inner int
				if err := rows.Scan(&n); err != nil {
					return err
				}
				one, two := tx.QueryRowContext(ctx, query, n), tx.QueryRowContext(ctx, query, 2)
				if err := errors.Join(one.Scan(&inner), two.Scan(&inner)); err != nil {
					return err
				}
				got = append(got, n, inner)
			}
			if want := "[0 2 1 2 2 2]"; fmt.Sprint(got) != want {
				t.Errorf("got %v, want %s", got, want)
			}
			return rows.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestOneReaderIsEnough(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := e.Open(t, &sqldb.Options{Readers: 1})
		var n int
		if err := db.QueryRowContext(t.Context(), "SELECT ? + 1", 1).Scan(&n); err != nil || n != 2 {
			t.Errorf("got %d, %v", n, err)
		}
	})
}

func TestTooManyWaitingCallersAreRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := e.Open(t, &sqldb.Options{MaxWaiting: 1, Writers: 1})
		nothing := func(context.Context, sqldb.Tx) error { return nil }
		second := make(chan error, 1)
		err := db.Update(t.Context(), func(context.Context, sqldb.Tx) error {
			go func() { second <- db.Update(t.Context(), nothing) }()
			waitFor(func() bool { return db.Waiting() == 1 })
			return db.Update(t.Context(), nothing)
		})
		if err != sqldb.ErrBusy {
			t.Errorf("got %v", err)
		}
		if err := <-second; err != nil {
			t.Error(err)
		}
	})
}
