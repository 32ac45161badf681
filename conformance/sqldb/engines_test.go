package sqldb_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/cleave-go/cleave/conformance/internal/dbtest"
	"github.com/cleave-go/cleave/conformance/internal/pgtest"
	"github.com/cleave-go/cleave/sqldb"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// open opens a database with a table note.
func open(t testing.TB, url string, o *sqldb.Options) *sqldb.DB {
	t.Helper()
	db := dbtest.Open(t, url, o)
	notes := fstest.MapFS{"note.sql": {Data: []byte("CREATE TABLE note (n BIGINT PRIMARY KEY, text TEXT NOT NULL DEFAULT '')")}}
	if err := db.Migrate(t.Context(), notes); err != nil {
		t.Fatal(err)
	}
	return db
}

// openTemp opens one where transactions that write come one behind the other.
func openTemp(t testing.TB, e dbtest.Engine) *sqldb.DB {
	return open(t, e.URL(t), &sqldb.Options{Writers: 1})
}

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
	rows, err := q.QueryContext(t.Context(), "SELECT n FROM note ORDER BY n")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var n string
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, " ")
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

var errUndo = errors.New("undo this")
