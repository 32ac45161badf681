package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	_ "modernc.org/sqlite"

	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/sqldb"
)

// open opens a database with the event tables and a table note.
func open(t testing.TB, path string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite:"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := sqlstore.Setup(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	notes := fstest.MapFS{"note.sql": {Data: []byte("CREATE TABLE note (n INTEGER PRIMARY KEY, text BLOB NOT NULL DEFAULT x'') STRICT")}}
	if err := db.Migrate(t.Context(), notes); err != nil {
		t.Fatal(err)
	}
	return db
}

func openTemp(t testing.TB) *sqldb.DB { return open(t, filepath.Join(t.TempDir(), "a.db")) }

type body = func(context.Context, sqldb.Tx) error

// write returns a function for Update that writes the note n.
func write(n int) body {
	return func(ctx context.Context, tx sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO note (n) VALUES (?)", n)
		return err
	}
}

// notes returns the numbers of all notes, "1 2 3".
func notes(t testing.TB, q sqldb.Queryer) string {
	t.Helper()
	var all sql.NullString
	if err := q.QueryRowContext(t.Context(), "SELECT group_concat(n, ' ') FROM (SELECT n FROM note ORDER BY n)").Scan(&all); err != nil {
		t.Fatal(err)
	}
	return all.String
}

func wantNotes(t testing.TB, q sqldb.Queryer, want string) {
	t.Helper()
	if got := notes(t, q); got != want {
		t.Fatalf("the notes are %q, want %q", got, want)
	}
}

// together runs all bodies in one commit, the first as the leader's, and
// returns their errors.
func together(t *testing.T, db *sqldb.DB, bodies ...body) []error {
	t.Helper()
	errs := make([]error, len(bodies))
	var wg sync.WaitGroup
	started := make(chan struct{})
	wg.Go(func() {
		errs[0] = db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
			close(started)
			waitFor(func() bool { return db.Waiting() == len(bodies)-1 })
			return bodies[0](ctx, tx)
		})
	})
	<-started
	for i, f := range bodies[1:] {
		wg.Go(func() { errs[i+1] = db.Update(t.Context(), f) })
		if i+2 < len(bodies) { // the leader goes on when the last one waits
			waitFor(func() bool { return db.Waiting() == i+1 })
		}
	}
	wg.Wait()
	return errs
}

func waitFor(cond func() bool) {
	for !cond() {
		runtime.Gosched()
	}
}

func TestUpdateCommits(t *testing.T) {
	path := filepath.Join(t.TempDir(), "odd ?name#with%20signs.db")
	db := open(t, path)
	if err := db.Update(t.Context(), write(1)); err != nil {
		t.Fatal(err)
	}
	wantNotes(t, db, "1")
	wantNotes(t, open(t, path), "1")
	if db.Path() != path {
		t.Errorf("the path is %s", db.Path())
	}
}

func TestCallersThatWaitShareOneCommit(t *testing.T) {
	db := openTemp(t)
	before := db.Committed()
	var bodies []body
	for n := range 20 {
		bodies = append(bodies, write(n))
	}
	if err := errors.Join(together(t, db, bodies...)...); err != nil {
		t.Fatal(err)
	}
	if n := db.Committed() - before; n != 1 {
		t.Errorf("%d commits", n)
	}
	if got := len(strings.Fields(notes(t, db))); got != 20 {
		t.Errorf("%d notes", got)
	}
}

func TestAFullDiskFailsAllThatShareTheTransactionAndNoLaterOne(t *testing.T) {
	db := openTemp(t)
	limit := func(pages int) body {
		return func(ctx context.Context, tx sqldb.Tx) error {
			var got int
			return tx.QueryRowContext(ctx, fmt.Sprintf("PRAGMA max_page_count = %d", pages)).Scan(&got)
		}
	}
	if err := db.Update(t.Context(), limit(1)); err != nil { // as big as it is
		t.Fatal(err)
	}
	errs := together(t, db, write(1), func(ctx context.Context, tx sqldb.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO note VALUES (2, zeroblob(1000000))"); err == nil {
			t.Error("it fitted")
		}
		// SQLite has rolled back: this must not be committed on its own.
		if err := write(3)(ctx, tx); err == nil {
			t.Error("a statement ran outside the transaction")
		}
		return nil
	}, func(ctx context.Context, tx sqldb.Tx) error { return nil })
	if errs[0] == nil || errs[1] == nil {
		t.Errorf("got %v", errs)
	}
	wantNotes(t, db, "")
	if err := errors.Join(db.Update(t.Context(), limit(1_000_000)), db.Update(t.Context(), write(4))); err != nil {
		t.Fatal(err)
	}
	wantNotes(t, db, "4")
}

func TestTrapT11AReadThenWriteTransactionIsNotRefusedForAForeignCommit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	one, two := open(t, path), open(t, path)
	done := make(chan error, 1)
	err := one.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		wantNotes(t, tx, "")
		go func() { done <- two.Update(t.Context(), write(1)) }()
		return write(2)(ctx, tx)
	})
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	wantNotes(t, one, "1 2")
}

func TestAnotherProcessThatWritesTooLongIsABusyError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	holder := open(t, path)
	db, err := sqldb.Open(t.Context(), "sqlite:"+path, &sqldb.Options{BusyTimeout: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = holder.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		if err := db.Update(ctx, write(2)); err == nil || !strings.Contains(err.Error(), "locked") {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := db.Update(ctx, write(2)); err != context.Canceled {
			t.Errorf("got %v", err)
		}
		return write(1)(t.Context(), tx)
	})
	if err := errors.Join(err, db.Update(t.Context(), write(3))); err != nil {
		t.Fatal(err)
	}
	wantNotes(t, db, "1 3")
}
