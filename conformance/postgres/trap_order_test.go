package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cleave-go/cleave/conformance/internal/pgtest"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/sqldb"
)

func record() event.Record {
	return event.Record{ID: event.NewID(), Type: "order.placed", Schema: 1, Data: []byte(`{"total":1234}`)}
}

func stream(id any) event.Stream { return event.Stream{Category: "order", ID: fmt.Sprint(id)} }

func appended(t testing.TB, st eventsource.Store, s event.Stream, x eventsource.Expect, recs ...event.Record) eventsource.Commit {
	t.Helper()
	c, err := st.Append(t.Context(), s, x, recs...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// follow reads live until it has seen n records, and sends them.
func follow(t testing.TB, st eventsource.Store, n int) <-chan event.Record {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	seen := make(chan event.Record, n)
	go func() {
		defer cancel()
		defer close(seen)
		for r, err := range st.Feed(ctx, eventsource.FeedOptions{Live: true, Limit: n}) {
			if err != nil {
				if t.Context().Err() == nil {
					t.Error(err)
				}
				return
			}
			seen <- r
		}
	}()
	return seen
}

// hold appends to s in a transaction that stays open until release is called,
// which commits it if err is nil.
func hold(t testing.TB, db *sqldb.DB, st eventsource.Store, s event.Stream) (release func(err error)) {
	t.Helper()
	held, end, ended := make(chan struct{}), make(chan error), make(chan error)
	go func() {
		first := true
		ended <- db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
			if _, err := st.In(tx).Append(ctx, s, eventsource.Any, record()); err != nil || !first {
				return err
			}
			first = false
			close(held)
			return <-end
		})
	}()
	<-held
	return func(err error) {
		end <- err
		if got := <-ended; !errors.Is(got, err) {
			t.Errorf("the transaction ended with %v, want %v", got, err)
		}
	}
}

var errUndo = errors.New("undo this")

func none(t *testing.T, seen <-chan event.Record, within time.Duration) {
	t.Helper()
	select {
	case r := <-seen:
		t.Fatalf("the feed showed position %d already", r.Position)
	case <-time.After(within):
	}
}

func next(t *testing.T, seen <-chan event.Record, within time.Duration) event.Record {
	t.Helper()
	select {
	case r, ok := <-seen:
		if !ok {
			t.Fatal("the feed ended")
		}
		return r
	case <-time.After(within):
		t.Fatalf("nothing came within %v", within)
	}
	return event.Record{}
}

func TestTrapT01APositionDrawnEarlierAndCommittedLaterIsNotSkipped(t *testing.T) {
	for name, end := range map[string]error{"committed": nil, "undone": errUndo} {
		t.Run(name, func(t *testing.T) {
			db := open(t, pgtest.Database(t), nil)
			st := sqlstore.New(db)
			seen := follow(t, st, 3)
			first := appended(t, st, stream(0), eventsource.Any, record())
			next(t, seen, time.Second)
			release := hold(t, db, st, stream("a"))
			late := appended(t, st, stream("b"), eventsource.Any, record())
			none(t, seen, 50*time.Millisecond)
			if head, err := st.Head(t.Context()); err != nil || head != late.Position {
				t.Errorf("head %d, %v", head, err)
			}
			release(end)
			r := next(t, seen, time.Second)
			if end == nil {
				if r.Stream != stream("a") || r.Position != first.Position+1 {
					t.Errorf("got %s at %d", r.Stream, r.Position)
				}
				r = next(t, seen, time.Second)
			}
			if r.Stream != stream("b") || r.Position != late.Position {
				t.Errorf("got %s at %d", r.Stream, r.Position)
			}
		})
	}
}

func TestTrapT02ATransactionThatWroteBeforeItAppendsDoesNotInvertItsStream(t *testing.T) {
	db := open(t, pgtest.Database(t), nil)
	st := sqlstore.New(db)
	if err := db.Write(t.Context(), "CREATE TABLE business (n bigint)", nil, nil); err != nil {
		t.Fatal(err)
	}
	runs := 0
	err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO business VALUES (?)", 1); err != nil {
			return err
		}
		if runs++; runs == 1 {
			appended(t, sqlstore.New(open(t, urlOf(t, db), nil)), stream(1), eventsource.NoStream, record())
		}
		_, err := st.In(tx).Append(ctx, stream(1), eventsource.Any, record())
		return err
	})
	if err != nil || runs != 2 {
		t.Fatalf("%d runs, %v", runs, err)
	}
	seen := follow(t, st, 2)
	for version := uint64(1); version <= 2; version++ {
		if r := next(t, seen, time.Second); r.Version != version {
			t.Errorf("version %d comes at %d", r.Version, version)
		}
	}
}

// urlOf is the URL of another handle of the database.
func urlOf(t testing.TB, db *sqldb.DB) string {
	t.Helper()
	var name string
	if err := db.QueryRowContext(t.Context(), "SELECT current_database()").Scan(&name); err != nil {
		t.Fatal(err)
	}
	return pgtest.Shared(t).URL("app", name)
}

func TestTrapT03AWriteTransactionInAnotherDatabaseHoldsNothingBack(t *testing.T) {
	other := open(t, pgtest.Database(t), nil)
	release := hold(t, other, sqlstore.New(other), stream("other"))
	defer release(nil)
	st := sqlstore.New(open(t, pgtest.Database(t), nil))
	seen := follow(t, st, 20)
	for range 20 {
		start := time.Now()
		appended(t, st, stream(event.NewID()), eventsource.Any, record())
		next(t, seen, time.Second-time.Since(start))
	}
}

func TestTrapT05ACommitBetweenTwoPagesIsNotPassedOver(t *testing.T) {
	db := open(t, pgtest.Database(t), nil)
	st := sqlstore.New(db)
	const each, writers = 60, 6
	var wg sync.WaitGroup
	for range 4 { // from the beginning and one by one
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			versions := map[event.Stream]uint64{}
			var after event.Position
			for n := 0; n < each*writers; n++ {
				for r, err := range st.Feed(ctx, eventsource.FeedOptions{After: after, Limit: 1, Live: true}) {
					if versions[r.Stream]++; err != nil || r.Version != versions[r.Stream] {
						t.Errorf("after %d of %d: version %d of %s, %v", n, each*writers, r.Version, r.Stream, err)
						return
					}
					after = r.Position
				}
			}
		})
	}
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
					if _, err := st.In(tx).Append(ctx, stream(w), eventsource.Any, record()); err != nil {
						return err
					}
					time.Sleep(rand.N(2 * time.Millisecond)) // work
					if n%6 == 0 {
						_, err := st.In(tx).Append(ctx, stream("undone"), eventsource.Any, record())
						return errors.Join(err, errUndo)
					}
					return nil
				})
				if errors.Is(err, errUndo) {
					_, err = st.Append(t.Context(), stream(w), eventsource.Any, record())
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestTrapT10TheFeedNamesTheTransactionThatHoldsItUp(t *testing.T) {
	var log safeBuffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	url := pgtest.Database(t)
	db, holder := open(t, url, nil), open(t, url+"&application_name=holder", nil)
	st := sqlstore.New(db)
	seen := follow(t, st, 2)
	release := hold(t, holder, sqlstore.New(holder), stream("a"))
	appended(t, st, stream("b"), eventsource.Any, record())
	none(t, seen, 3*time.Second)
	release(nil)
	for _, want := range []event.Stream{stream("a"), stream("b")} {
		if r := next(t, seen, time.Second); r.Stream != want {
			t.Errorf("got %s", r.Stream)
		}
	}
	if got := log.String(); !strings.Contains(got, "position=1") || !strings.Contains(got, "(holder, idle in transaction") {
		t.Errorf("the log says %q", got)
	}
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestTrapT24ACommitThatNobodyTellsOfIsFoundByLooking(t *testing.T) {
	url := pgtest.Database(t)
	reader, writer := sqlstore.New(open(t, url, nil)), sqlstore.New(open(t, url, nil))
	const n = 10
	seen := follow(t, reader, n)
	var longest time.Duration
	for range n {
		time.Sleep(rand.N(300 * time.Millisecond)) // the longer nothing happens, the less often it looks
		start := time.Now()
		appended(t, writer, stream(1), eventsource.Any, record())
		next(t, seen, 2*time.Second)
		longest = max(longest, time.Since(start))
	}
	t.Logf("at most %v", longest)
	if longest > 1200*time.Millisecond {
		t.Errorf("found after %v", longest)
	}
}
