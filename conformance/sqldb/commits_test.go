package sqldb_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/cleave-go/cleave/conformance/internal/dbtest"
	"github.com/cleave-go/cleave/sqldb"
)

func TestAwaitCommitReturnsAtOnceForThisProcess(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := openTemp(t, e)
		settle(t, db)
		seen := db.Committed()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				if n, err := db.AwaitCommit(t.Context(), seen); err != nil || n <= seen {
					t.Errorf("got %d, %v", n, err)
				}
			})
		}
		if err := db.Update(t.Context(), write(1)); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if _, err := db.AwaitCommit(t.Context(), seen); err != nil { // what is over needs no waiting
			t.Error(err)
		}
	})
}

func TestAwaitCommitNoticesAnotherHandle(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		url := e.URL(t)
		db, other := open(t, url, nil), open(t, url, nil)
		for n := range 5 {
			seen := settle(t, db)
			if err := other.Update(t.Context(), write(n)); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if _, err := db.AwaitCommit(t.Context(), seen); err != nil {
				t.Fatal(err)
			}
			if d := time.Since(start); d > 2*time.Second {
				t.Errorf("noticed after %v", d)
			}
		}
	})
}

func TestAwaitCommitMissesNoCommitBetweenReadingAndWaiting(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		url := e.URL(t)
		db, other := open(t, url, nil), open(t, url, nil)
		go func() {
			for n := range 100 {
				if err := []*sqldb.DB{db, other}[n%2].Update(t.Context(), write(n)); err != nil {
					t.Error(err)
				}
			}
		}()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for count := 0; count < 100; {
			seen := db.Committed()
			if err := db.QueryRowContext(ctx, "SELECT count(*) FROM note").Scan(&count); err != nil {
				t.Fatal(err)
			}
			if count < 100 {
				if _, err := db.AwaitCommit(ctx, seen); err != nil {
					t.Fatalf("stuck at %d notes: %v", count, err)
				}
			}
		}
	})
}

func TestAwaitCommitEndsWithItsContext(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := openTemp(t, e)
		seen := settle(t, db)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		for range 2 { // one looks for foreign commits, the other waits
			go func() {
				_, err := db.AwaitCommit(ctx, seen)
				done <- err
			}()
		}
		cancel()
		for range 2 {
			if err := <-done; err != context.Canceled {
				t.Errorf("got %v", err)
			}
		}
	})
}

// settle returns the number of commits after all that happened was noticed.
func settle(t *testing.T, db *sqldb.DB) uint64 {
	t.Helper()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		n, err := db.AwaitCommit(ctx, db.Committed())
		cancel()
		if err != nil {
			return n
		}
	}
}
