package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/bustest"
	"github.com/cleave-go/cleave/bus/membus"
	"github.com/cleave-go/cleave/conformance/internal/dbtest"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/sqldb"
)

var quiet = slog.New(slog.DiscardHandler)

// withEffects opens a database with a table of effects, in their order.
func withEffects(t *testing.T, url string) *sqldb.DB {
	t.Helper()
	db := dbtest.Open(t, url, nil)
	serial := "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"
	if db.Dialect() == sqldb.SQLite {
		serial = "INTEGER PRIMARY KEY"
	}
	err := errors.Join(outbox.Setup(t.Context(), db), db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS effect (n `+serial+`, stream TEXT NOT NULL, position BIGINT NOT NULL)`)
		return err
	}))
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func effect(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO effect (stream, position) VALUES (?, ?)`, m.Stream.ID, int64(m.Position))
	return err
}

// eachOnce fails unless every position up to n has one effect, ascending within
// each stream.
func eachOnce(t *testing.T, db *sqldb.DB, n int) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), `SELECT stream, position FROM effect ORDER BY n`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	last, count := map[string]int{}, 0
	for rows.Next() {
		var stream string
		var position int
		if err := rows.Scan(&stream, &position); err != nil {
			t.Fatal(err)
		}
		if position <= last[stream] {
			t.Fatalf("position %d came behind %d in stream %s", position, last[stream], stream)
		}
		last[stream], count = position, count+1
	}
	if err := rows.Err(); err != nil || count != n {
		t.Fatalf("%d effects, error %v; want %d", count, err, n)
	}
}

func running(t *testing.T, run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := run(ctx); err != nil {
			t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(stop)
	return stop
}

func mark(t *testing.T, s bus.Source) event.Mark {
	t.Helper()
	epochs, err1 := s.Epochs(t.Context())
	head, err2 := s.Head(t.Context())
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return event.Mark{Epoch: epochs[len(epochs)-1].Name, Position: head}
}

// Two instances that start, stop, park, are resumed and change the number of
// lanes at any moment: each message takes effect once, in its stream's order.
func TestConsumersParkAndChangeLanesSafely(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		b, table := membus.New(), bustest.NewTable("order")
		bustest.Publish(t, b, table)
		url := e.URL(t)
		dbs := [2]*sqldb.DB{withEffects(t, url), withEffects(t, url)}
		var healthy atomic.Bool
		consumer := func(i, lanes int) *bus.Consumer {
			return &bus.Consumer{Name: "view", DB: dbs[i], Bus: b, Filter: bus.Filter{Source: "order"}, Logger: quiet, Batch: 5, Lanes: lanes,
				OnError: bus.Policy{Park: true, Tries: 1, Backoff: time.Millisecond},
				Handle: func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
					if err := effect(ctx, tx, m); err != nil {
						return err
					}
					if !healthy.Load() && rand.IntN(30) == 0 {
						return errors.New("bad luck")
					}
					return nil
				}}
		}
		const rounds, each = 40, 25
		parks := 0
		for range rounds {
			table.Add(each)
			one, two := consumer(0, 1+rand.IntN(4)), consumer(1, 1+rand.IntN(4))
			stop1, stop2 := running(t, one.Run), running(t, two.Run)
			time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
			list, err := one.Parked(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range list {
				parks++
				_ = two.Retry(t.Context(), p.Stream) // may fail again
			}
			stop1()
			stop2()
		}
		healthy.Store(true)
		c := consumer(0, 1)
		running(t, c.Run)
		ctx, cancel := context.WithTimeout(t.Context(), bustest.Patience)
		defer cancel()
		if err := c.Wait(ctx, mark(t, table)); err != nil {
			t.Fatal(err)
		}
		list, err := c.Parked(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range list {
			if err := c.Retry(t.Context(), p.Stream); err != nil {
				t.Fatal(err)
			}
		}
		eachOnce(t, dbs[0], rounds*each)
		t.Logf("%d times a stream was parked", parks)
	})
}

// Four lanes that wait 2 ms in each Apply do so together on PostgreSQL.
func TestLanesWaitTogether(t *testing.T) {
	took := func(lanes int) time.Duration {
		b, table := membus.New(), bustest.NewTable("order")
		for i := range 1000 {
			table.AddTo(event.Stream{Category: "order", ID: fmt.Sprint("o-", i)}, "order.counted")
		}
		bustest.Publish(t, b, table)
		db := withEffects(t, dbtest.PostgreSQL.URL(t))
		r, err := projection.NewRunner(db, b, &projection.Options{Logger: quiet, Wait: time.Minute}, projection.Projection{
			Name: "view", Sources: []string{"order"}, Lanes: lanes, Apply: func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
				time.Sleep(2 * time.Millisecond) // stands for a call that waits
				return effect(ctx, tx, m)
			}})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		defer running(t, r.Run)()
		at := mark(t, table)
		if err := r.Wait(t.Context(), "view", event.Token{}.With("order", at.Epoch, at.Position)); err != nil {
			t.Fatal(err)
		}
		took := time.Since(begin)
		eachOnce(t, db, 1000)
		return took
	}
	one, four := took(1), min(took(4), took(4)) // others may use the machine
	t.Logf("1,000 events: one lane %v, four lanes %v, %.1f times as fast", one, four, float64(one)/float64(four))
	if four*2 > one { // on a machine that has nothing else to do it is less than a third
		t.Errorf("four lanes took %v, one %v: want half of it at most", four, one)
	}
}

// A version is built beside the old one and takes its place; a rebuild ends
// with the same view.
func TestProjectionsAreBuiltAnew(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		b, table := membus.New(), bustest.NewTable("order")
		table.Add(300)
		bustest.Publish(t, b, table)
		db := withEffects(t, e.URL(t))
		version := func(v int) projection.Projection {
			return projection.Projection{Name: "view", Version: v, Sources: []string{"order"}, Lanes: v, Apply: effect,
				Reset: func(ctx context.Context, tx sqldb.Tx) error {
					_, err := tx.ExecContext(ctx, `DELETE FROM effect`)
					return err
				}}
		}
		at := mark(t, table)
		token := event.Token{}.With("order", at.Epoch, at.Position)
		run := func(ps ...projection.Projection) *projection.Runner {
			r, err := projection.NewRunner(db, b, &projection.Options{Logger: quiet, Wait: time.Minute}, ps...)
			if err != nil {
				t.Fatal(err)
			}
			running(t, r.Run)
			if err := r.Wait(t.Context(), "view", token); err != nil {
				t.Fatal(err)
			}
			return r
		}
		run(version(1))
		eachOnce(t, db, 300)
		r := run(version(1), version(2))
		for v := 0; v != 2; time.Sleep(5 * time.Millisecond) {
			var err error
			if v, err = r.Live(t.Context(), "view"); err != nil {
				t.Fatal(err)
			}
		}
		var last projection.Progress
		for g, err := range r.Rebuild(t.Context(), "view") {
			if err != nil {
				t.Fatal(err)
			}
			last = g
		}
		if last.Done != 300 || last.Head != 300 {
			t.Errorf("it ended at %+v", last)
		}
		eachOnce(t, db, 300)
	})
}
