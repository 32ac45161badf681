package bus_test

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/bustest"
	"github.com/cleave-go/cleave/bus/natsbus"
	"github.com/cleave-go/cleave/event"
)

// silent is quickly without a log: things go wrong on purpose.
var silent = &natsbus.Options{Check: 50 * time.Millisecond, Logger: quiet}

var order = bus.Filter{Source: "order"}

// chain is the stream of the service order as an outsider sees it.
type chain struct {
	t  testing.TB
	nc *nats.Conn
	js jetstream.JetStream
}

func (b *broker) chain() *chain {
	b.t.Helper()
	nc, err := nats.Connect(b.url, nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		b.t.Fatal(err)
	}
	return &chain{b.t, nc, js}
}

func (c *chain) stream() jetstream.Stream {
	c.t.Helper()
	for deadline := time.Now().Add(bustest.Patience); ; time.Sleep(5 * time.Millisecond) {
		st, err := c.js.Stream(c.t.Context(), "OUT_order")
		if err == nil {
			return st
		}
		if time.Now().After(deadline) {
			c.t.Fatal(err)
		}
	}
}

// positions returns those of the service's messages in the stream, in order.
func (c *chain) positions() (all []event.Position) {
	c.t.Helper()
	st := c.stream()
	left := st.CachedInfo().State.Msgs
	if left == 0 {
		return nil
	}
	cons, err := st.CreateConsumer(c.t.Context(), jetstream.ConsumerConfig{AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true})
	if err != nil {
		c.t.Fatal(err)
	}
	it, err := cons.Messages()
	if err != nil {
		c.t.Fatal(err)
	}
	defer it.Stop()
	for ; left > 0; left-- {
		m, err := it.Next(jetstream.NextMaxWait(bustest.Patience))
		if err != nil {
			c.t.Fatal(err)
		}
		if p, err := strconv.ParseUint(m.Headers().Get("ce-sequence"), 10, 64); err == nil {
			all = append(all, event.Position(p))
		}
	}
	return all
}

// want waits until the stream ends with position last, and fails unless it then
// holds each position from first once, ascending.
func (c *chain) want(first, last event.Position) {
	c.t.Helper()
	deadline := time.Now().Add(bustest.Patience)
	for {
		all := c.positions()
		for i, p := range all {
			if p != first+event.Position(i) {
				c.t.Fatalf("message %d of the stream is position %d, want %d", i+1, p, first+event.Position(i))
			}
		}
		if n := event.Position(len(all)); n > 0 && all[n-1] == last || first > last {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("the stream has %d messages, want %d to %d", len(all), first, last)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// foreign puts n messages that are not the service's into its stream.
func (c *chain) foreign(n int) {
	c.t.Helper()
	for range n {
		if _, err := c.js.Publish(c.t.Context(), "out.order.evt.order.order.00.order.forged", []byte("{}")); err != nil {
			c.t.Fatal(err)
		}
	}
}

func TestTrapT14SeveralRelaysPublishEachPositionOnceAscending(t *testing.T) {
	b := newBroker(t)
	table := bustest.NewTable("order")
	table.Add(2000)
	for range 3 {
		bustest.Publish(t, b.connect(silent), table)
	}
	f := bustest.Follow(t, b.connect(silent), order, bus.Place{})
	for range 30 {
		table.Add(100)
		time.Sleep(5 * time.Millisecond)
	}
	f.Want(1, 5000)
	b.chain().want(1, 5000)
}

func TestTrapT15NoRepetitionAfterTheDedupeWindow(t *testing.T) {
	b := newBroker(t)
	table := bustest.NewTable("order")
	for i := range 4 {
		table.Add(50)
		stop := bustest.Publish(t, b.connect(silent), forgetful{table})
		b.chain().want(1, event.Position(50*(i+1)))
		stop()
		time.Sleep(150 * time.Millisecond) // the broker remembers ids for 100 ms
	}
}

// forgetful is a source that cannot note how far it was published.
type forgetful struct{ bus.Source }

func TestAForeignMessageIsPassedOver(t *testing.T) {
	b := newBroker(t)
	c := b.chain()
	table := bustest.NewTable("order")
	table.Add(100)
	bustest.Publish(t, b.connect(silent), table)
	f := bustest.Follow(t, b.connect(silent), order, bus.Place{})
	f.Want(1, 100)
	for i := range 20 { // into a full pipeline
		table.Add(200)
		c.foreign(1 + i%3)
	}
	f.Want(101, 4100)
	c.want(1, 4100)
	c.foreign(1) // on an idle stream
	table.Add(1)
	f.Want(4101, 4101)
}

func TestARelayStartsBehindForeignMessages(t *testing.T) {
	for _, n := range []int{1, 30, 1100} { // more than are looked through
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			b := newBroker(t)
			c := b.chain()
			table := bustest.NewTable("order")
			table.Add(5)
			stop := bustest.Publish(t, b.connect(silent), table)
			c.want(1, 5)
			stop()
			c.foreign(n)
			table.Add(5)
			bustest.Publish(t, b.connect(silent), table)
			c.want(1, 10)
		})
	}
}

func TestARelayThatIsCutOffLeavesNoGap(t *testing.T) {
	b := newBroker(t)
	table := bustest.NewTable("order")
	f := bustest.Follow(t, b.connect(silent), order, bus.Place{})
	for i := range 20 {
		table.Add(500)
		conn := b.connect(silent)
		stop := bustest.Publish(t, conn, table)
		time.Sleep(time.Duration(i) * time.Millisecond)
		conn.Conn().Close() // with messages in flight
		stop()
	}
	bustest.Publish(t, b.connect(silent), table)
	f.Want(1, 10_000)
	b.chain().want(1, 10_000)
}

func TestABrokerThatRestartsLosesNothing(t *testing.T) {
	b := newBroker(t)
	table := bustest.NewTable("order")
	bustest.Publish(t, b.connect(silent), table)
	f := bustest.Follow(t, b.connect(silent), order, bus.Place{})
	g := bustest.Follow(t, b.connect(silent), bus.Filter{Source: "order", Subjects: []string{"evt.order.order.>"}}, bus.Place{})
	for i := range 3 {
		table.Add(1500)
		f.Want(event.Position(i*500+1), event.Position(i*500+500))
		b.stop()
		b.start()
	}
	f.Want(1501, 4500)
	g.Want(1, 4500)
	b.chain().want(1, 4500)
}

// TestTrapT16 puts the broker's folder back to an older copy: it forgets what it
// acknowledged since.
func TestTrapT16ALostTailIsPublishedAgain(t *testing.T) {
	b := newBroker(t)
	table := bustest.NewTable("order")
	table.Add(300)
	bustest.Publish(t, b.connect(silent), table)
	f := bustest.Follow(t, b.connect(silent), order, bus.Place{})
	f.Want(1, 300)
	b.stop()
	older := t.TempDir()
	if err := os.CopyFS(older, os.DirFS(b.dir)); err != nil {
		t.Fatal(err)
	}
	b.start()
	table.Add(500)
	f.Want(301, 800)
	b.stop()
	b.dir = older
	began := time.Now()
	b.start()
	b.chain().want(1, 800)
	if d := time.Since(began); d > 5*time.Second {
		t.Errorf("the tail was back after %v, want at most 5s", d)
	}
	// A place behind the cut means the same as before.
	f.Quiet(100 * time.Millisecond)
	table.Add(10)
	f.Want(801, 810)
	bustest.Follow(t, b.connect(silent), order, f.Last()).Quiet(50 * time.Millisecond)
}

func TestAPlaceBehindACutAndRefilledStreamIsFoundAgain(t *testing.T) {
	b := newBroker(t)
	table := bustest.NewTable("order")
	table.Add(400)
	bustest.Publish(t, b.connect(silent), table)
	f := bustest.Follow(t, b.connect(silent), order, bus.Place{})
	f.Want(1, 400)
	f.Stop()
	c := b.chain()
	if err := c.js.DeleteStream(t.Context(), "OUT_order"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "OUT_order", Subjects: []string{"out.order.>"}, Duplicates: 100 * time.Millisecond,
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: "out.order.>", Destination: ">"},
	}); err != nil {
		t.Fatal(err)
	}
	c.want(1, 400)
	c.foreign(7)
	table.Add(100)
	c.want(1, 500)
	for _, seq := range []uint64{0, 3, 399, 400, 401, 450, 508, 9999} {
		at := f.Last()
		at.Seq = seq
		g := bustest.Follow(t, b.connect(silent), order, at)
		g.Want(401, 500)
		g.Stop()
	}
}

func TestAStreamThatIsDeletedIsMadeAndFilledAgain(t *testing.T) {
	b := newBroker(t)
	table := bustest.NewTable("order")
	table.Add(300)
	conn := b.connect(silent)
	bustest.Publish(t, conn, table)
	v := newView(t, newDB(t))
	consumer := bus.Consumer{Name: "view", DB: v.db, Bus: conn, Filter: order, Handle: v.add, Logger: quiet}
	start(t, consumer.Run)
	v.want(&consumer, epochOf(t, table), 300)
	c := b.chain()
	for i := range 3 {
		if err := c.js.DeleteStream(t.Context(), "OUT_order"); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			table.Add(10)
		}
		last, _ := table.Head(t.Context())
		c.want(1, last)
	}
	table.Add(5)
	v.want(&consumer, epochOf(t, table), 315) // each once
	var rows int
	if err := v.db.QueryRowContext(t.Context(), `SELECT count(*) FROM es_checkpoint WHERE lane >= 0`).Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d rows of places, error %v; want 1 (trap T19)", rows, err)
	}
}

func TestTrapT34AnEmptyStreamGoesOnWhereItWas(t *testing.T) {
	b := newBroker(t)
	table := bustest.NewTable("order")
	table.Add(100)
	stop := bustest.Publish(t, b.connect(silent), table)
	f := bustest.Follow(t, b.connect(silent), order, bus.Place{})
	f.Want(1, 100)
	stop()
	c := b.chain()
	if err := c.stream().Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(150 * time.Millisecond) // the broker remembers ids for 100 ms
	b.stop()
	b.start()
	stop = bustest.Publish(t, b.connect(silent), table)
	f.Quiet(200 * time.Millisecond)
	if got := b.chain().positions(); len(got) != 0 {
		t.Fatalf("published again: %v", got)
	}
	table.Add(50)
	f.Want(101, 150)
	b.chain().want(101, 150)
	// The same while the relay runs.
	if err := b.chain().stream().Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	table.Add(50)
	f.Want(151, 200)
	b.chain().want(151, 200)
	stop()
}

func TestARemovedLastMessageIsPublishedAgain(t *testing.T) {
	b := newBroker(t)
	table := bustest.NewTable("order")
	table.Add(10)
	stop := bustest.Publish(t, b.connect(silent), table)
	c := b.chain()
	c.want(1, 10)
	stop()
	if err := c.stream().DeleteMsg(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	bustest.Publish(t, b.connect(silent), table) // within the dedupe window
	c.want(1, 10)
}

func TestTrapT17ATableOfAnotherEpochIsNotPublished(t *testing.T) {
	b := newBroker(t)
	table := bustest.NewTable("order")
	table.Add(10)
	stop := bustest.Publish(t, b.connect(silent), table)
	b.chain().want(1, 10)
	stop()
	table.SetEpoch("018f0000-0000-7000-8000-000000000002")
	table.Add(10)
	ctx, cancel := context.WithTimeout(t.Context(), bustest.Patience)
	defer cancel()
	err := b.connect(silent).Publish(ctx, table)
	if !errors.Is(err, bus.ErrAhead) || !strings.Contains(err.Error(), "OUT_order") {
		t.Errorf("got %v, want ErrAhead with the stream's name", err)
	}
	b.chain().want(1, 10)
}

func TestAFilterTheBrokerRefusesIsAnError(t *testing.T) {
	b := newBroker(t).connect(silent)
	ctx, cancel := context.WithTimeout(t.Context(), bustest.Patience)
	defer cancel()
	f := bus.Filter{Source: "order", Subjects: []string{"evt.>", "evt.order.>"}}
	for _, err := range b.Subscribe(ctx, f, bus.Place{}) {
		if err == nil || !strings.Contains(err.Error(), "filter") {
			t.Errorf("got %v, want a refusal of the filter", err)
		}
		return
	}
	t.Error("the subscription ended without an error")
}

func TestABusStartsBeforeItsBroker(t *testing.T) {
	b := newBroker(t)
	b.stop()
	table := bustest.NewTable("order")
	table.Add(10)
	bustest.Publish(t, b.connect(silent), table)
	f := bustest.Follow(t, b.connect(silent), order, bus.Place{})
	f.Quiet(50 * time.Millisecond)
	b.start()
	f.Want(1, 10)
}
