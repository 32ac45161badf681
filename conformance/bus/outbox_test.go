package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/bustest"
	"github.com/cleave-go/cleave/bus/membus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/sqldb"
)

var courier = event.Stream{Category: "courier", ID: "c1"}

func noted(kind string) event.Record {
	return event.Record{Type: kind, Schema: 1, Data: json.RawMessage(`{}`)}
}

func add(t *testing.T, db *sqldb.DB, n int) {
	t.Helper()
	for range n {
		err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
			_, err := outbox.Add(ctx, tx, courier, noted("courier.moved"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatWasCommittedIsPublishedAndNothingElse(t *testing.T) {
	onEach(t, func(t *testing.T, b bus.Bus) {
		db, boom := newDB(t), errors.New("boom")
		start(t, outbox.NewRelay("delivery", db, b, nil).Run)
		f := bustest.Follow(t, b, bus.Filter{Source: "delivery"}, bus.Place{})
		meta := event.WithMeta(t.Context(), event.Meta{Correlation: "saga-1", Actor: "ann"})
		for i, fail := range []error{nil, boom, nil} {
			err := db.Update(meta, func(ctx context.Context, tx sqldb.Tx) error {
				r := noted("courier.moved")
				r.Meta.Actor = []string{"", "nobody", "bob"}[i]
				if _, err := outbox.Add(ctx, tx, courier, r); err != nil {
					return err
				}
				return fail
			})
			if !errors.Is(err, fail) {
				t.Fatal(err)
			}
		}
		one, two := f.Next(), f.Next()
		if one.Position != 1 || two.Position < 2 || two.Version != 2 || two.Stream != courier {
			t.Errorf("got %+v and %+v, want versions 1 and 2 of %s", one, two, courier)
		}
		if one.Meta.Actor != "ann" || two.Meta.Actor != "bob" || two.Meta.Correlation != "saga-1" {
			t.Errorf("got metadata %+v and %+v", one.Meta, two.Meta)
		}
		f.Quiet(50 * time.Millisecond)
	})
}

func TestWhatAHandlerRecordsFollowsFromItsMessage(t *testing.T) {
	b, order, kitchen := membus.New(), newDB(t), newDB(t)
	start(t, outbox.NewRelay("order", order, b, nil).Run)
	start(t, outbox.NewRelay("kitchen", kitchen, b, nil).Run)
	c := bus.Consumer{Name: "commands", DB: kitchen, Bus: b, Filter: bus.Filter{Source: "order", Subjects: []string{"cmd.kitchen.>"}},
		Handle: func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
			_, err := outbox.Add(ctx, tx, event.Stream{Category: "$rpl.order", ID: m.Stream.ID}, noted("done"))
			return err
		}}
	start(t, c.Run)
	f := bustest.Follow(t, b, bus.Filter{Source: "kitchen"}, bus.Place{})
	r := noted("create-ticket")
	r.ID, r.Meta = event.NewID(), event.Meta{Correlation: "saga-1", Actor: "ann"}
	err := order.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		_, err := outbox.Add(ctx, tx, event.Stream{Category: "$cmd.kitchen", ID: "s1"}, r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	m := f.Next()
	if m.Meta.Causation != r.ID.String() || m.Meta.Correlation != "saga-1" || m.Meta.Actor != "ann" {
		t.Errorf("got %+v, want the correlation and actor of the command, and it as the cause", m.Meta)
	}
	if want := "rpl.order.34.done"; m.Subject != want {
		t.Errorf("got subject %q, want %q", m.Subject, want)
	}
}

func TestOnceRunsOncePerConsumerAndID(t *testing.T) {
	db, id, n := newDB(t), event.NewID(), 0
	once := func(consumer string, fail error) (ran bool, err error) {
		err = db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
			ran, err = outbox.Once(ctx, tx, consumer, id, func() error { n++; return fail })
			return err
		})
		return ran, err
	}
	boom := errors.New("boom")
	tests := []struct {
		name     string
		consumer string
		fail     error
		ran      bool
		total    int
	}{
		{"a failure", "a", boom, true, 1},
		{"is not noted", "a", nil, true, 2},
		{"a repetition", "a", nil, false, 2},
		{"another consumer", "b", nil, true, 3},
	}
	for _, tt := range tests {
		if ran, err := once(tt.consumer, tt.fail); ran != tt.ran || !errors.Is(err, tt.fail) || n != tt.total {
			t.Errorf("%s: ran %v, error %v, %d in all; want %v, %v, %d", tt.name, ran, err, n, tt.ran, tt.fail, tt.total)
		}
	}
	err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		gone, err := outbox.Forget(ctx, tx, time.Now().Add(time.Minute))
		if gone != 2 {
			t.Errorf("forgot %d, want 2", gone)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// TestQuickFromCommitToEffect measures commit to committed effect on an idle
// system; both commits are durable.
func TestQuickFromCommitToEffect(t *testing.T) {
	onEach(t, func(t *testing.T, b bus.Bus) {
		source, sink := newDB(t), newDB(t)
		start(t, outbox.NewRelay("delivery", source, b, nil).Run)
		handled := make(chan time.Time, 1)
		c := bus.Consumer{Name: "view", DB: sink, Bus: b, Filter: bus.Filter{Source: "delivery"},
			Handle: func(context.Context, sqldb.Tx, bus.Message) error { handled <- time.Now(); return nil }}
		start(t, c.Run)
		add(t, source, 1)
		<-handled
		best := time.Hour
		for range 30 {
			add(t, source, 1)
			committed := time.Now()
			best = min(best, (<-handled).Sub(committed))
		}
		t.Logf("from commit to handler, quickest of 30: %v", best)
		if best > 20*time.Millisecond {
			t.Errorf("quickest of 30 took %v, want at most 20ms", best)
		}
	})
}

// addMany records n events in one transaction.
func addMany(t testing.TB, db *sqldb.DB, n int) {
	t.Helper()
	recs := make([]event.Record, n)
	for i := range recs {
		recs[i] = noted("courier.moved")
	}
	err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		_, err := outbox.Add(ctx, tx, courier, recs...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func eventPosition(n int) event.Position { return event.Position(n) }

// BenchmarkTableToEffect carries records from one database into another, with
// durable commits: b.N from the table to a subscriber, then b.N into a view.
func BenchmarkTableToEffect(b *testing.B) {
	for _, kind := range []string{"membus", "natsbus"} {
		b.Run(kind, func(b *testing.B) {
			var carrier bus.Bus = membus.New()
			if kind == "natsbus" {
				carrier = newBroker(b).connect(silent)
			}
			source, sink := newDB(b), newDB(b)
			for left := b.N; left > 0; left -= 500 {
				addMany(b, source, min(left, 500))
			}
			v, delivery := newView(b, sink), bus.Filter{Source: "delivery"}
			c := bus.Consumer{Name: "view", DB: sink, Bus: carrier, Filter: delivery, Handle: v.add}
			b.ResetTimer()
			start(b, outbox.NewRelay("delivery", source, carrier, nil).Run)
			f := bustest.Follow(b, carrier, delivery, bus.Place{})
			f.Want(1, eventPosition(b.N))
			relayed := b.Elapsed()
			start(b, c.Run)
			v.want(&c, f.Last().Epoch, eventPosition(b.N))
			b.ReportMetric(float64(b.N)/relayed.Seconds(), "relayed/s")
			b.ReportMetric(float64(b.N)/(b.Elapsed()-relayed).Seconds(), "applied/s")
		})
	}
}
