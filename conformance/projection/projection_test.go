package projection_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/membus"
	"github.com/cleave-go/cleave/conformance/internal/dbtest"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/projection/projectiontest"
	"github.com/cleave-go/cleave/sqldb"
)

// A view of orders (their amounts added up, a counter is the hard case) and of
// the tickets that the kitchen made for them.

type (
	orderEvent  interface{ isOrder() }
	placed      struct{ Amount int }
	revised     struct{ By int }
	ticketEvent interface{ isTicket() }
	accepted    struct{ Order string }
)

func (placed) isOrder()    {}
func (revised) isOrder()   {}
func (accepted) isTicket() {}

var (
	orders  = event.NewCodec[orderEvent](event.Of[placed]("order.placed", 1), event.Of[revised]("order.revised", 1))
	tickets = event.NewCodec[ticketEvent](event.Of[accepted]("ticket.accepted", 1))
)

var errFail = errors.New("the view is broken")

func view(fail func() bool) projection.Projection {
	return projection.Projection{
		Name:    "history",
		Sources: []string{"order", "kitchen"},
		Apply: projection.Join(
			projection.On(orders, func(ctx context.Context, tx sqldb.Tx, e event.Envelope[orderEvent]) error {
				amount := 0
				switch e := e.Data.(type) {
				case placed:
					amount = e.Amount
				case revised:
					amount = e.By
				}
				_, err := tx.ExecContext(ctx, `INSERT INTO view (id, total) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET total = view.total + excluded.total`, e.Stream.ID, amount)
				if err == nil && fail() {
					return errFail
				}
				return err
			}),
			projection.From("kitchen", projection.On(tickets, func(ctx context.Context, tx sqldb.Tx, e event.Envelope[ticketEvent]) error {
				res, err := tx.ExecContext(ctx, `UPDATE view SET accepted = accepted + 1 WHERE id = ?`, e.Data.(accepted).Order)
				if err != nil {
					return err
				}
				if n, err := res.RowsAffected(); err != nil || n == 0 {
					return errors.Join(err, fmt.Errorf("order %s: %w", e.Data.(accepted).Order, bus.ErrNotYet))
				}
				return nil
			})),
		),
	}
}

func never() bool { return false }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func TestMain(m *testing.M) { dbtest.Main(m, "") }

func open(t testing.TB, path string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), dbtest.At(t, path), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	err = errors.Join(outbox.Setup(t.Context(), db), db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS view (id TEXT PRIMARY KEY, total INTEGER NOT NULL, accepted INTEGER NOT NULL DEFAULT 0)`)
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

var files int

func fresh(t testing.TB) *sqldb.DB {
	files++
	return open(t, filepath.Join(t.TempDir(), fmt.Sprint(files, ".db")))
}

func script(t testing.TB) []bus.Message {
	var all []bus.Message
	for i := range 5 {
		id := fmt.Sprint("o", i)
		all = append(all, projectiontest.NewScript[orderEvent](t, "order", orders, event.Stream{Category: "order", ID: id}, placed{100 * i}, revised{7}, revised{i})...)
		all = append(all, projectiontest.NewScript[ticketEvent](t, "kitchen", tickets, event.Stream{Category: "ticket", ID: id}, accepted{id})...)
	}
	return all
}

func TestRepeatedDeliveryDoesNotCountTwice(t *testing.T) {
	projectiontest.AppliedTwice(t, fresh, view(never), script(t)...)
}

// T23.
func TestTrapT23AnyInterleavingOfTheSourcesGivesTheSameView(t *testing.T) {
	seeds := 100
	if testing.Short() {
		seeds = 10
	}
	projectiontest.Shuffled(t, fresh, view(never), seeds, script(t)...)
}

// record appends an event and returns the token of its commit.
func record[E any](t testing.TB, source string, db *sqldb.DB, codec *event.Codec[E], s event.Stream, e E) event.Token {
	t.Helper()
	r, err := codec.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	st := sqlstore.New(db)
	c, err := st.Append(t.Context(), s, eventsource.Any, r)
	if err != nil {
		t.Fatal(err)
	}
	epoch, err := st.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return event.Token{}.With(source, epoch, c.Position)
}

func background(t testing.TB, runs ...func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, run := range runs {
		wg.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		})
	}
	return sync.OnceFunc(func() { cancel(); wg.Wait() })
}

func runner(t testing.TB, db *sqldb.DB, b bus.Bus, wait time.Duration, p projection.Projection) *projection.Runner {
	t.Helper()
	r, err := projection.NewRunner(db, b, &projection.Options{Logger: quiet, Wait: wait}, p)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func total(t testing.TB, db *sqldb.DB, id string) (n int) {
	t.Helper()
	err := db.QueryRowContext(t.Context(), "SELECT total FROM view WHERE id = ?", id).Scan(&n)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		t.Fatal(err)
	}
	return n
}

func TestWaitMakesAReadIncludeWhatWasWritten(t *testing.T) {
	b, mine, theirs := membus.New(), fresh(t), fresh(t)
	r := runner(t, mine, b, time.Minute, view(never))
	defer background(t, outbox.NewRelay("order", theirs, b, nil).Run, r.Run)()
	start := time.Now()
	const n = 50
	for i := 1; i <= n; i++ {
		token := record[orderEvent](t, "order", theirs, orders, event.Stream{Category: "order", ID: "o"}, placed{1})
		token = token.With("payments", "epoch", 1_000_000) // not followed: does not count
		if err := r.Wait(t.Context(), "history", token); err != nil {
			t.Fatal(err)
		}
		if got := total(t, mine, "o"); got != i {
			t.Fatalf("the view says %d, want %d", got, i)
		}
	}
	t.Logf("%v from append to view", time.Since(start)/n)
}

func TestWaitSaysNotYetInTime(t *testing.T) {
	b, mine := membus.New(), fresh(t)
	r := runner(t, mine, b, 50*time.Millisecond, view(never))
	defer background(t, r.Run)()
	err := r.Wait(t.Context(), "history", event.Token{}.With("order", "epoch", 7))
	if !errors.Is(err, bus.ErrNotYet) {
		t.Errorf("got %v", err)
	}
	if err := r.Wait(t.Context(), "unknown", event.Token{}); err == nil || errors.Is(err, bus.ErrNotYet) {
		t.Errorf("an unknown name: %v", err)
	}
}

// T22.
func TestTrapT22TypesOfANewerVersionArePassedOver(t *testing.T) {
	type shipped struct{ By string }
	newer := event.NewCodec[any](event.Of[shipped]("order.shipped", 1))
	b, mine, theirs := membus.New(), fresh(t), fresh(t)
	r := runner(t, mine, b, time.Minute, view(never))
	defer background(t, outbox.NewRelay("order", theirs, b, nil).Run, r.Run)()
	s := event.Stream{Category: "order", ID: "o"}
	record[any](t, "order", theirs, newer, s, shipped{"air"})
	if err := r.Wait(t.Context(), "history", record[orderEvent](t, "order", theirs, orders, s, placed{5})); err != nil {
		t.Fatal(err)
	}
	if got := total(t, mine, "o"); got != 5 {
		t.Errorf("the view says %d", got)
	}
}

func TestANewVersionStartsAtTheFirstEvent(t *testing.T) {
	b, mine, theirs := membus.New(), fresh(t), fresh(t)
	defer background(t, outbox.NewRelay("order", theirs, b, nil).Run)()
	token := record[orderEvent](t, "order", theirs, orders, event.Stream{Category: "order", ID: "o"}, placed{5})
	for version := range 3 {
		p := view(never)
		p.Version = version
		r := runner(t, mine, b, time.Minute, p)
		stop := background(t, r.Run)
		err := r.Wait(t.Context(), "history", token)
		stop()
		if err != nil {
			t.Fatal(err)
		}
		if got := total(t, mine, "o"); got != 5*(version+1) { // all wrote to one table here
			t.Errorf("version %d: %d", version, got)
		}
	}
}

// T18: the view equals the fold of what was recorded, through crashes, errors
// and two processes.
func TestTrapT18TheViewEqualsTheFoldAfterCrashes(t *testing.T) {
	dir := t.TempDir()
	fail := func() bool { return rand.IntN(50) == 0 }
	theirs := open(t, filepath.Join(dir, "order.db"))
	b := membus.New()
	defer background(t, outbox.NewRelay("order", theirs, b, nil).Run)()
	const writers, each = 4, 250
	var wg sync.WaitGroup
	var mu sync.Mutex
	var last event.Token
	for w := range writers {
		wg.Go(func() {
			for range each {
				tok := record[orderEvent](t, "order", theirs, orders, event.Stream{Category: "order", ID: fmt.Sprint(w)}, placed{1})
				mu.Lock()
				last = last.Merge(tok)
				mu.Unlock()
			}
		})
	}
	path := filepath.Join(dir, "view.db")
	crashes := 0
	for ; crashes < 40; crashes++ {
		db1, db2 := open(t, path), open(t, path)
		stop := background(t, runner(t, db1, b, time.Minute, view(fail)).Run, runner(t, db2, b, time.Minute, view(fail)).Run)
		time.Sleep(time.Duration(rand.IntN(15)) * time.Millisecond)
		stop()
		db1.Close()
		db2.Close()
	}
	wg.Wait()
	db := open(t, path)
	r := runner(t, db, b, time.Minute, view(never))
	defer background(t, r.Run)()
	if err := r.Wait(t.Context(), "history", last); err != nil {
		t.Fatal(err)
	}
	for w := range writers {
		if got := total(t, db, fmt.Sprint(w)); got != each {
			t.Errorf("writer %d: the view says %d, want %d", w, got, each)
		}
	}
}
