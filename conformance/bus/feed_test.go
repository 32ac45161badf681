package bus_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/bustest"
	"github.com/cleave-go/cleave/bus/natsbus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/sqldb"
)

// fed returns a bus that reads from a table what its stream does not hold.
func (b *broker) fed(s ...bus.Source) *natsbus.Bus {
	o := *quickly
	o.Feed, o.Logger = bus.Tables(s), quiet
	return b.connect(&o)
}

func TestWhatTheStreamHoldsNoMoreComesFromTheOwner(t *testing.T) {
	tests := []struct {
		name   string
		remove func(t *testing.T, c *chain, table *bustest.Table)
	}{
		{"its beginning", func(t *testing.T, c *chain, table *bustest.Table) { c.purge(t, 400) }},
		{"all but the last", func(t *testing.T, c *chain, table *bustest.Table) { c.purge(t, 1000) }},
		{"all", func(t *testing.T, c *chain, table *bustest.Table) {
			if err := c.stream().Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
		}},
		{"all, and more came", func(t *testing.T, c *chain, table *bustest.Table) {
			if err := c.stream().Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			table.Add(5)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBroker(t)
			table := bustest.NewTable("order")
			table.Add(1000)
			conn := b.fed(table)
			bustest.Publish(t, conn, table)
			bustest.Follow(t, conn, order, bus.Place{}).Want(1, 1000)
			tt.remove(t, b.chain(), table)
			head, _ := table.Head(t.Context())
			behind := bustest.Follow(t, conn, order, bus.Place{Epoch: epochOf(t, table), Position: 250, Seq: 250})
			filtered := bustest.Follow(t, conn, bus.Filter{Source: "order", Lane: streamOf(3).Lane() % 5, Of: 5}, bus.Place{})
			f := bustest.Follow(t, conn, order, bus.Place{})
			f.Want(1, head)
			behind.Want(251, head)
			table.Add(50)
			f.Want(head+1, head+50)
			behind.Want(head+1, head+50)
			for p := range head + 50 {
				if streamOf(p+1).Lane()%5 == streamOf(3).Lane()%5 {
					filtered.Want(p+1, p+1)
				}
			}
			if _, err := next(t, b.connect(silent), bus.Place{Epoch: epochOf(t, table), Position: 3}); !errors.Is(err, bus.ErrGone) {
				t.Errorf("without a feed: got %v, want ErrGone", err)
			}
		})
	}
}

// purge removes all before a sequence.
func (c *chain) purge(t *testing.T, seq uint64) {
	t.Helper()
	if err := c.stream().Purge(t.Context(), jetstream.WithPurgeSequence(seq)); err != nil {
		t.Fatal(err)
	}
}

// endsAt waits until the stream has come to a position.
func (c *chain) endsAt(p event.Position) {
	until(c.t, fmt.Sprint("position ", p, " is on the bus"), func() bool {
		info, err := c.stream().Info(c.t.Context())
		return err == nil && info.State.LastSeq == uint64(p)
	})
}

// next returns the first message behind a place.
func next(t *testing.T, b bus.Bus, after bus.Place) (bus.Message, error) {
	ctx, cancel := context.WithTimeout(t.Context(), bustest.Patience)
	defer cancel()
	for m, err := range b.Subscribe(ctx, order, after) {
		return m, err
	}
	return bus.Message{}, ctx.Err()
}

// A consumer that is slower than the stream forgets gets what was removed
// before it came from the owner, wherever that happens.
func TestASubscriberThatFallsBehindTheStreamLosesNothing(t *testing.T) {
	b := newBroker(t)
	table := bustest.NewTable("order")
	conn := b.fed(table)
	bustest.Publish(t, conn, table)
	table.Add(2000)
	c := b.chain()
	c.want(1, 2000)
	f := bustest.Follow(t, conn, bus.Filter{Source: "order", Subjects: []string{"evt.order.>"}}, bus.Place{})
	f.Want(1, 10) // it is 512 messages ahead at most
	c.purge(t, 1900)
	table.Add(100)
	f.Want(11, 2100)
	for range 20 {
		table.Add(300)
		head, _ := table.Head(t.Context())
		c.endsAt(head)
		c.purge(t, uint64(head)-uint64(rand.IntN(290)))
	}
	f.Want(2101, 8100)
}

// A projection that begins when the stream has forgotten most: complete, in
// order, each once, while the source goes on and the stream goes on forgetting.
func TestANewConsumerPastRetentionIsComplete(t *testing.T) {
	b := newBroker(t)
	theirs := newDB(t)
	for range 30 {
		addMany(t, theirs, 100)
	}
	source := outbox.Source("order", theirs)
	o := *quickly
	o.Feed, o.Logger, o.MaxAge = bus.Tables{source}, quiet, 300*time.Millisecond
	conn := b.connect(&o)
	start(t, outbox.NewRelay("order", theirs, conn, &outbox.Options{Logger: quiet}).Run)
	c := b.chain()
	until(t, "the stream is empty", func() bool {
		info, err := c.stream().Info(t.Context())
		return err == nil && info.State.LastSeq == 3000 && info.State.Msgs == 0
	})
	v := newView(t, newDB(t))
	consumer := bus.Consumer{Name: "view", DB: v.db, Bus: conn, Filter: order, Logger: quiet,
		Handle: func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
			if m.Position%500 == 0 {
				time.Sleep(50 * time.Millisecond)
			}
			return v.add(ctx, tx, m)
		}}
	start(t, consumer.Run)
	for range 10 {
		addMany(t, theirs, 100)
		time.Sleep(50 * time.Millisecond)
	}
	head, err := source.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v.waitFor(&consumer, epochOf(t, source), head)
	var want []event.Position // on PostgreSQL not all positions are used
	for r, err := range source.Feed(t.Context(), 0, false) {
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, r.Position)
	}
	got := v.positions()
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("effect %d is of position %d, want %d", i+1, got[i], want[i])
		}
	}
	if len(got) != len(want) || len(want) != 4000 {
		t.Errorf("%d effects of %d records, want 4000", len(got), len(want))
	}
}

// T17 to its end: a table that was restored from an older copy goes on in a new
// epoch, and who follows it gets what it records from then on, each once.
func TestTrapT17ARestoredTableGoesOnInANewEpoch(t *testing.T) {
	onEach(t, func(t *testing.T, b bus.Bus) {
		table := bustest.NewTable("order")
		table.Add(100)
		stop := bustest.Publish(t, b, table)
		early, late := newView(t, newDB(t)), newView(t, newDB(t))
		consumer := func(v *view) *bus.Consumer {
			return &bus.Consumer{Name: "view", DB: v.db, Bus: b, Filter: order, Handle: v.add, Logger: quiet}
		}
		stopEarly := start(t, consumer(early).Run)
		early.want(consumer(early), epochOf(t, table), 100)
		stopEarly()
		stop()

		table.Cut(90)
		table.NewEpoch("018f0000-0000-7000-8000-000000000002")
		table.Add(15) // positions 91 to 105, other events
		bustest.Publish(t, b, table)
		now := epochOf(t, table)
		start(t, consumer(early).Run)
		early.waitFor(consumer(early), now, 105)
		want := make([]event.Position, 0, 115)
		for p := range event.Position(100) {
			want = append(want, p+1)
		}
		for p := range event.Position(15) {
			want = append(want, 91+p)
		}
		if got := early.positions(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("who had seen the lost events has\n%v", got)
		}
		start(t, consumer(late).Run)
		late.waitFor(consumer(late), now, 105)
		want = want[:0]
		for p := range event.Position(105) {
			want = append(want, p+1)
		}
		if got := late.positions(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("who comes later has, with what was lost or without what came instead,\n%v", got)
		}
		if at, err := consumer(early).Place(t.Context()); err != nil || at.Epoch != now || at.Position != 105 {
			t.Errorf("place %+v, error %v", at, err)
		}
	})
}

// What the stream has forgotten may have been what the filter wants: that it has
// nothing of it is no answer.
func TestAStreamDoesNotTellOfWhatItHasForgotten(t *testing.T) {
	b := newBroker(t)
	table := bustest.NewTable("order")
	table.Add(3)
	table.AddTo(event.Stream{Category: "$cmd.kitchen"}, "create-ticket") // position 4
	table.Add(6)
	conn := b.connect(silent)
	bustest.Publish(t, conn, table)
	f := bustest.Follow(t, conn, order, bus.Place{})
	f.Want(1, 10)
	commands := bus.Filter{Source: "order", Subjects: []string{"cmd.>"}}
	epoch := f.Last().Epoch
	if err := b.chain().stream().Purge(t.Context(), jetstream.WithPurgeSequence(6)); err != nil { // 6 to 10 are left
		t.Fatal(err)
	}
	owner := b.connect(&natsbus.Options{Feed: bus.Tables{table}, Logger: quiet})
	for after, forgotten := range map[event.Position]bool{0: true, 3: true, 5: false, 8: false} {
		at := bus.Place{}
		if after > 0 {
			at = bus.Place{Epoch: epoch, Position: after}
		}
		got, found, err := conn.Next(t.Context(), commands, at, 10)
		if found || errors.Is(err, bus.ErrNotYet) != forgotten {
			t.Errorf("behind %d: got %d, %v, %v", after, got, found, err)
		}
		got, found, err = owner.Next(t.Context(), commands, at, 10)
		if found != forgotten || err != nil || found && got != 4 {
			t.Errorf("behind %d, with the owner's feed: got %d, %v, %v", after, got, found, err)
		}
	}
}
