package bus_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/bustest"
	"github.com/cleave-go/cleave/bus/membus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/sqldb"
)

// park parks a stream soon.
var park = bus.Policy{Park: true, Tries: 2, Backoff: time.Millisecond}

// streamOf is the stream of a position of bustest.Table.
func streamOf(p event.Position) event.Stream {
	return event.Stream{Category: "order", ID: fmt.Sprint(p % 7)}
}

// eachOnce fails unless every position up to n has one effect, in order within
// each stream.
func (v *view) eachOnce(n event.Position) {
	v.t.Helper()
	last := map[event.Position]event.Position{}
	all := v.positions()
	for _, p := range all {
		if before := last[p%7]; p <= before {
			v.t.Fatalf("position %d came behind %d in its stream", p, before)
		}
		last[p%7] = p
	}
	if len(all) != int(n) {
		v.t.Fatalf("%d effects, want %d", len(all), n)
	}
}

// until waits for a condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(bustest.Patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, bustest.Patience)
		}
	}
}

func (v *view) waitFor(c *bus.Consumer, epoch string, n event.Position) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.t.Context(), bustest.Patience)
	defer cancel()
	if err := c.Wait(ctx, event.Mark{Epoch: epoch, Position: n}); err != nil {
		v.t.Fatalf("wait for %d: %v", n, err)
	}
}

func parked(t testing.TB, c *bus.Consumer) []bus.Parked {
	t.Helper()
	list, err := c.Parked(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestAPoisonousMessageParksItsStreamAndOthersGoOn(t *testing.T) {
	onEach(t, func(t *testing.T, b bus.Bus) {
		table := bustest.NewTable("order")
		table.Add(70)
		bustest.Publish(t, b, table)
		v := newView(t, newDB(t))
		var broken atomic.Bool
		broken.Store(true)
		c := bus.Consumer{Name: "view", DB: v.db, Bus: b, Filter: bus.Filter{Source: "order"}, Logger: quiet, OnError: park,
			Handle: func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
				if err := v.add(ctx, tx, m); err != nil {
					return err
				}
				if m.Position == 10 && broken.Load() {
					return errors.New("poison")
				}
				return nil
			}}
		stop := start(t, c.Run)
		v.waitFor(&c, epochOf(t, table), 70)
		stop()
		start(t, c.Run) // it stays parked
		table.Add(14)
		v.waitFor(&c, epochOf(t, table), 84)
		v.eachOnce(84 - 11)
		list := parked(t, &c)
		if len(list) != 1 || list[0].Stream != streamOf(10) || list[0].Place.Position != 10 || list[0].Kept != 11 || list[0].Error != "poison" || list[0].Tries != 2 {
			t.Fatalf("parked is %+v", list)
		}
		if err := c.Retry(t.Context(), streamOf(10)); err == nil {
			t.Error("it could be resumed while it is broken")
		}
		if err := c.Retry(t.Context(), streamOf(11)); !errors.Is(err, bus.ErrNotParked) {
			t.Errorf("another stream: %v", err)
		}
		broken.Store(false)
		if err := c.Retry(t.Context(), streamOf(10)); err != nil {
			t.Fatal(err)
		}
		if list := parked(t, &c); len(list) != 0 {
			t.Errorf("still parked: %+v", list)
		}
		table.Add(14)
		v.waitFor(&c, epochOf(t, table), 98)
		v.eachOnce(98)
	})
}

func TestAParkedStreamOutlivesTheMessagesOnTheBus(t *testing.T) {
	b := newBroker(t)
	table := bustest.NewTable("order")
	table.Add(70)
	conn := b.connect(quickly)
	bustest.Publish(t, conn, table)
	v := newView(t, newDB(t))
	var broken atomic.Bool
	broken.Store(true)
	c := bus.Consumer{Name: "view", DB: v.db, Bus: conn, Filter: bus.Filter{Source: "order"}, Logger: quiet, OnError: park,
		Handle: func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
			if m.Position == 10 && broken.Load() {
				return errors.New("poison")
			}
			return v.add(ctx, tx, m)
		}}
	start(t, c.Run)
	v.waitFor(&c, epochOf(t, table), 70)
	if err := b.chain().stream().Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	broken.Store(false)
	if err := c.Retry(t.Context(), streamOf(10)); err != nil {
		t.Fatal(err)
	}
	v.eachOnce(70)
}

func TestAConsumerStandsStillRatherThanKeepTooMuch(t *testing.T) {
	b, table := membus.New(), bustest.NewTable("order")
	table.Add(70)
	bustest.Publish(t, b, table)
	v := newView(t, newDB(t))
	var broken atomic.Bool
	broken.Store(true)
	policy := park
	policy.MaxKept = 4
	policy.MaxBackoff = 5 * time.Millisecond
	c := bus.Consumer{Name: "view", DB: v.db, Bus: b, Filter: bus.Filter{Source: "order"}, Logger: quiet, OnError: policy,
		Handle: func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
			if m.Position%7 < 2 && broken.Load() {
				return errors.New("poison")
			}
			return v.add(ctx, tx, m)
		}}
	start(t, c.Run)
	at := func() event.Position {
		p, err := c.Place(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return p.Position
	}
	// 1, 7, 8 and 14 are kept; 15 has no room.
	until(t, "the bound", func() bool { return at() == 14 })
	if list := parked(t, &c); len(list) != 2 || list[0].Kept+list[1].Kept != 4 {
		t.Fatalf("parked is %+v", list)
	}
	time.Sleep(50 * time.Millisecond)
	if at() != 14 {
		t.Fatalf("it went on to %d", at())
	}
	broken.Store(false)
	for _, p := range parked(t, &c) {
		if err := c.Retry(t.Context(), p.Stream); err != nil {
			t.Fatal(err)
		}
	}
	v.waitFor(&c, epochOf(t, table), 70)
	until(t, "all effects", func() bool { return len(v.positions()) == 70 })
	v.eachOnce(70)
}

func TestTrapT23SourcesThatWaitForEachOtherDoNotStandStill(t *testing.T) {
	b, left, right := membus.New(), bustest.NewTable("left"), bustest.NewTable("right")
	left.Add(14)
	right.Add(14)
	bustest.Publish(t, b, left)
	bustest.Publish(t, b, right)
	v := newView(t, newDB(t))
	var mu sync.Mutex
	seen := map[string]bool{}
	has := func(source string, p event.Position) bool { return seen[fmt.Sprint(source, p)] }
	handle := func(_ context.Context, _ sqldb.Tx, m bus.Message) error {
		mu.Lock()
		defer mu.Unlock()
		// Without leaving order, left waits for right's 5th and right for left's 2nd.
		if m.Source == "left" && m.Position == 1 && !has("right", 5) || m.Source == "right" && m.Position == 3 && !has("left", 2) {
			return bus.ErrNotYet
		}
		seen[fmt.Sprint(m.Source, m.Position)] = true
		return nil
	}
	for _, source := range []string{"left", "right"} {
		c := bus.Consumer{Name: "view", DB: v.db, Bus: b, Filter: bus.Filter{Source: source}, Logger: quiet, OnError: park, Handle: handle}
		start(t, c.Run)
	}
	until(t, "all messages", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == 28
	})
}

// Two instances that start, stop, park and are resumed at any moment: each
// message takes effect once, in the order of its stream.
func TestParkingIsSafeWithTwoInstancesAndCrashes(t *testing.T) {
	onEach(t, func(t *testing.T, b bus.Bus) {
		table := bustest.NewTable("order")
		bustest.Publish(t, b, table)
		path := filepath.Join(t.TempDir(), "service.db")
		v := newView(t, open(t, path))
		var healthy, lucky atomic.Bool // the third message fails until a stream is parked for it
		consumer := func(db *sqldb.DB, lanes int) *bus.Consumer {
			return &bus.Consumer{Name: "view", DB: db, Bus: b, Filter: bus.Filter{Source: "order"}, Logger: quiet,
				OnError: bus.Policy{Park: true, Tries: 1, Backoff: time.Millisecond}, Batch: 5, Lanes: lanes,
				Handle: func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
					if err := v.add(ctx, tx, m); err != nil {
						return err
					}
					if !healthy.Load() && rand.IntN(30) == 0 || !lucky.Load() && m.Place.Position == 3 {
						return errors.New("bad luck")
					}
					return nil
				}}
		}
		const rounds, each = 40, 25
		parks := 0
		for i := range rounds {
			table.Add(each)
			before := len(v.positions())
			one, two := consumer(v.db, 1+rand.IntN(4)), consumer(open(t, path), 1+rand.IntN(4))
			stop1, stop2 := start(t, one.Run), start(t, two.Run)
			if i == 0 {
				until(t, "a parked stream", func() bool { return len(parked(t, one)) > 0 })
				lucky.Store(true)
			}
			if i%2 == 0 {
				until(t, "an effect", func() bool { return len(v.positions()) > before || len(parked(t, one)) == 7 })
			}
			time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
			parks += len(parked(t, one))
			for _, p := range parked(t, one) {
				_ = two.Retry(t.Context(), p.Stream) // may fail again
			}
			stop1()
			stop2()
			two.DB.Close()
		}
		healthy.Store(true)
		c := consumer(v.db, 1)
		start(t, c.Run)
		v.waitFor(c, epochOf(t, table), rounds*each)
		for _, p := range parked(t, c) {
			if err := c.Retry(t.Context(), p.Stream); err != nil {
				t.Fatal(err)
			}
		}
		v.eachOnce(rounds * each)
		if parks == 0 {
			t.Error("no stream was parked")
		}
		t.Logf("%d times a stream was parked", parks)
	})
}

func TestTheNumberOfLanesMayChange(t *testing.T) {
	onEach(t, func(t *testing.T, b bus.Bus) {
		table := bustest.NewTable("order")
		bustest.Publish(t, b, table)
		v := newView(t, newDB(t))
		consumer := func(lanes int) *bus.Consumer {
			return &bus.Consumer{Name: "view", DB: v.db, Bus: b, Filter: bus.Filter{Source: "order"}, Logger: quiet, Handle: v.add, Lanes: lanes, Batch: 3}
		}
		for i, lanes := range []int{1, 4, 3, 64, 2, 2, 1, 7} {
			table.Add(100)
			c := consumer(lanes)
			stop := start(t, c.Run)
			if i%3 == 0 { // else it is stopped where it stands
				v.waitFor(c, epochOf(t, table), event.Position(100*(i+1)))
			}
			until(t, fmt.Sprint(lanes, " lanes"), func() bool {
				places, err := c.Places(t.Context())
				return err == nil && len(places) == lanes
			})
			stop()
		}
		// One that runs goes on with the lanes of one that starts.
		c, d := consumer(5), consumer(3)
		start(t, c.Run)
		start(t, d.Run)
		table.Add(200)
		v.waitFor(c, epochOf(t, table), 1000)
		v.eachOnce(1000)
	})
}

func TestALaneThatIsStuckHoldsUpNoOther(t *testing.T) {
	onEach(t, func(t *testing.T, b bus.Bus) {
		table := bustest.NewTable("order")
		table.Add(700)
		bustest.Publish(t, b, table)
		v := newView(t, newDB(t))
		stuck := streamOf(1).Lane() % 4
		want := 0
		for p := range event.Position(700) {
			if streamOf(p+1).Lane()%4 != stuck {
				want++
			}
		}
		c := bus.Consumer{Name: "view", DB: v.db, Bus: b, Filter: bus.Filter{Source: "order"}, Logger: quiet, Lanes: 4,
			Handle: func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
				if m.Stream.Lane()%4 == stuck {
					return errors.New("stuck")
				}
				return v.add(ctx, tx, m)
			}}
		start(t, c.Run)
		until(t, "the other lanes", func() bool { return len(v.positions()) == want })
	})
}

// T19: what a consumer remembers of what it has seen is its places, however much
// that was, and a message that comes again after any time is known.
func TestTrapT19TheInboxIsOnePlaceForEachLane(t *testing.T) {
	for _, lanes := range []int{1, 4} {
		table := bustest.NewTable("order")
		table.Add(4_000)
		b := &again{Tables: bus.Tables{table}}
		v := newView(t, newDB(t))
		c := bus.Consumer{Name: "view", DB: v.db, Bus: b, Filter: order, Handle: v.add, Logger: quiet, Lanes: lanes}
		stop := start(t, c.Run)
		v.waitFor(&c, epochOf(t, table), 4_000)
		until(t, "everything came twice", func() bool { return b.rounds.Load() >= int32(2*lanes) })
		stop()
		v.eachOnce(4_000)
		var rows int
		err := v.db.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM es_checkpoint WHERE lane >= 0) + (SELECT count(*) FROM es_inbox_id)
			+ (SELECT count(*) FROM es_parked_message)`).Scan(&rows)
		if err != nil || rows != lanes {
			t.Errorf("%d rows remember what was seen, error %v; want %d", rows, err, lanes)
		}
	}
}

// again is a bus that delivers a table from its beginning, again and again,
// whatever a subscriber's place is: its messages are years old.
type again struct {
	bus.Tables
	rounds atomic.Int32
}

func (b *again) Publish(ctx context.Context, _ bus.Source) error { <-ctx.Done(); return nil }

func (b *again) Subscribe(ctx context.Context, f bus.Filter, _ bus.Place) iter.Seq2[bus.Message, error] {
	return func(yield func(bus.Message, error) bool) {
		for ctx.Err() == nil {
			for m, err := range b.Read(ctx, f, bus.Place{}) {
				if m.Subject == "" && err == nil {
					continue
				}
				if !yield(m, err) {
					return
				}
			}
			b.rounds.Add(1)
		}
	}
}

func (b *again) Next(ctx context.Context, f bus.Filter, after bus.Place, until event.Position) (event.Position, bool, error) {
	for m, err := range b.Read(ctx, f, after) {
		if err != nil || m.Subject != "" {
			return m.Position, m.Position <= until, err
		}
	}
	return 0, false, nil
}

func (b *again) Last(ctx context.Context, _ string) (bus.Place, error) {
	return bus.Place{}, ctx.Err()
}
