package bus_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/bustest"
	"github.com/cleave-go/cleave/bus/membus"
	"github.com/cleave-go/cleave/conformance/internal/dbtest"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/sqldb"
)

// onEach runs a test on every bus.
func onEach(t *testing.T, test func(t *testing.T, b bus.Bus)) {
	t.Run("membus", func(t *testing.T) { test(t, membus.New()) })
	t.Run("natsbus", func(t *testing.T) { test(t, newBroker(t).connect(quickly)) })
}

func open(t testing.TB, path string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), dbtest.At(t, path), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := outbox.Setup(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return db
}

func newDB(t testing.TB) *sqldb.DB {
	t.Helper()
	return open(t, filepath.Join(t.TempDir(), "service.db"))
}

// start runs f until the returned function is called or the test ends.
func start(t testing.TB, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// view is a table that shows an effect twice if it happens twice.
type view struct {
	t  testing.TB
	db *sqldb.DB
}

func newView(t testing.TB, db *sqldb.DB) *view {
	v := &view{t, db}
	err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS seen (n `+dbtest.Serial(db)+`, position BIGINT, kind TEXT)`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *view) add(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO seen (position, kind) VALUES (?, ?)`, int64(m.Position), m.Type)
	return err
}

// positions returns what was seen, in order.
func (v *view) positions() (all []event.Position) {
	v.t.Helper()
	rows, err := v.db.QueryContext(v.t.Context(), `SELECT position FROM seen ORDER BY n`)
	if err != nil {
		v.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var p event.Position
		if err := rows.Scan(&p); err != nil {
			v.t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// want waits until the view has n entries and fails unless they are 1 to n.
func (v *view) want(c *bus.Consumer, epoch string, n event.Position) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), bustest.Patience)
	defer cancel()
	if err := c.Wait(ctx, event.Mark{Epoch: epoch, Position: n}); err != nil {
		v.t.Fatalf("wait for %d: %v", n, err)
	}
	all := v.positions()
	for i, p := range all {
		if p != event.Position(i+1) {
			v.t.Fatalf("effect %d is of position %d: %v", i+1, p, all)
		}
	}
	if len(all) < int(n) {
		v.t.Fatalf("%d effects, want %d", len(all), n)
	}
}

func epochOf(t *testing.T, s bus.Source) string {
	t.Helper()
	epochs, err := s.Epochs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return epochs[len(epochs)-1].Name
}

func TestEffectAndPlaceAreOneTransaction(t *testing.T) {
	onEach(t, func(t *testing.T, b bus.Bus) {
		table := bustest.NewTable("order")
		table.Add(500)
		bustest.Publish(t, b, table)
		v := newView(t, newDB(t))
		c := bus.Consumer{Name: "view", DB: v.db, Bus: b, Filter: bus.Filter{Source: "order"}, Handle: v.add}
		stop := start(t, c.Run)
		v.want(&c, epochOf(t, table), 500)
		stop()
		table.Add(100)
		for range 10 {
			stop := start(t, c.Run)
			table.Add(10)
			stop() // at any moment
		}
		start(t, c.Run)
		v.want(&c, epochOf(t, table), 700)
		if at, err := c.Place(t.Context()); err != nil || at.Position != 700 {
			t.Errorf("place %+v, error %v; want position 700", at, err)
		}
	})
}

func TestTwoConsumersAtOnceApplyOnce(t *testing.T) {
	onEach(t, func(t *testing.T, b bus.Bus) {
		table := bustest.NewTable("order")
		bustest.Publish(t, b, table)
		path := filepath.Join(t.TempDir(), "service.db")
		v := newView(t, open(t, path))
		other := open(t, path) // as another process has it
		c := bus.Consumer{Name: "view", DB: v.db, Bus: b, Filter: bus.Filter{Source: "order"}, Handle: v.add, Batch: 7}
		d := c
		d.DB = other
		start(t, c.Run)
		start(t, d.Run)
		for range 50 {
			table.Add(20)
			time.Sleep(time.Millisecond)
		}
		v.want(&c, epochOf(t, table), 1000)
		v.want(&d, epochOf(t, table), 1000)
	})
}

func TestAMessageThatFailsIsTriedAgainInItsPlace(t *testing.T) {
	onEach(t, func(t *testing.T, b bus.Bus) {
		table := bustest.NewTable("order")
		table.Add(20)
		bustest.Publish(t, b, table)
		v := newView(t, newDB(t))
		var fails, panics, early atomic.Int32
		c := bus.Consumer{Name: "view", DB: v.db, Bus: b, Filter: bus.Filter{Source: "order"}, Logger: quiet,
			Handle: func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
				if err := v.add(ctx, tx, m); err != nil {
					return err
				}
				switch {
				case m.Position == 7 && fails.Add(1) <= 2:
					return errors.New("no")
				case m.Position == 9 && panics.Add(1) <= 1:
					panic("oh")
				case m.Position == 12 && early.Add(1) <= 5:
					return fmt.Errorf("partner: %w", bus.ErrNotYet)
				}
				return nil
			}}
		start(t, c.Run)
		v.want(&c, epochOf(t, table), 20)
		if f, p, e := fails.Load(), panics.Load(), early.Load(); f < 3 || p < 2 || e < 6 {
			t.Errorf("handled the failing messages %d, %d and %d times, want 3, 2 and 6", f, p, e)
		}
	})
}

func TestWhatComesBeforeAFailureIsCommitted(t *testing.T) {
	b, table := membus.New(), bustest.NewTable("order")
	table.Add(20)
	bustest.Publish(t, b, table)
	v := newView(t, newDB(t))
	c := bus.Consumer{Name: "view", DB: v.db, Bus: b, Filter: bus.Filter{Source: "order"}, Logger: quiet,
		Handle: func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
			if m.Position == 10 {
				return errors.New("never")
			}
			return v.add(ctx, tx, m)
		}}
	start(t, c.Run)
	v.want(&c, epochOf(t, table), 9)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := c.Wait(ctx, event.Mark{Epoch: epochOf(t, table), Position: 10}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("wait for the failing message: got %v, want the deadline", err)
	}
}

func TestWaitIsNotForWhatTheFilterLeavesOut(t *testing.T) {
	onEach(t, func(t *testing.T, b bus.Bus) {
		table := bustest.NewTable("order")
		for range 5 {
			table.Add(1)
			table.AddTo(event.Stream{Category: "$cmd.kitchen"}, "create-ticket")
		}
		bustest.Publish(t, b, table)
		v := newView(t, newDB(t))
		c := bus.Consumer{Name: "view", DB: v.db, Bus: b, Handle: v.add,
			Filter: bus.Filter{Source: "order", Subjects: []string{"evt.order.>"}}}
		start(t, c.Run)
		ctx, cancel := context.WithTimeout(t.Context(), bustest.Patience)
		defer cancel()
		if err := c.Wait(ctx, event.Mark{Epoch: epochOf(t, table), Position: 10}); err != nil {
			t.Fatal(err)
		}
		if got, want := v.positions(), []event.Position{1, 3, 5, 7, 9}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := c.Wait(short, event.Mark{Epoch: epochOf(t, table), Position: 11}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait for what is not there: got %v, want the deadline", err)
		}
	})
}

func TestAPlaceThatIsSetBackIsFollowed(t *testing.T) {
	b, table := membus.New(), bustest.NewTable("order")
	table.Add(5)
	bustest.Publish(t, b, table)
	v := newView(t, newDB(t))
	c := bus.Consumer{Name: "view", DB: v.db, Bus: b, Filter: bus.Filter{Source: "order"}, Handle: v.add, Logger: quiet}
	start(t, c.Run)
	v.want(&c, epochOf(t, table), 5)
	err := v.db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM es_checkpoint; `)
		if err == nil {
			_, err = tx.ExecContext(ctx, `DELETE FROM seen`)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	table.Add(1)
	v.want(&c, epochOf(t, table), 6)
}

func TestAConsumerThatCannotRunSaysWhy(t *testing.T) {
	db, b := newDB(t), membus.New()
	handle := func(context.Context, sqldb.Tx, bus.Message) error { return nil }
	tests := []struct {
		c    bus.Consumer
		want string
	}{
		{bus.Consumer{}, "needs a Name"},
		{bus.Consumer{Name: "x", DB: db, Bus: b}, "needs DB, Bus and Handle"},
		{bus.Consumer{Name: "x", DB: db, Bus: b, Handle: handle}, "needs a source"},
		{bus.Consumer{Name: "x", DB: db, Bus: b, Handle: handle, Filter: bus.Filter{Source: "y"}, Lanes: 65}, "at most 64"},
	}
	for _, tt := range tests {
		if err := tt.c.Run(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("got %v, want %q", err, tt.want)
		}
	}
}
