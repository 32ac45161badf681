package bustest

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
)

// Run holds the buses that open returns to the promises of package bus. Every
// case opens its own, empty one.
func Run(t *testing.T, open func(t *testing.T) bus.Bus) {
	cases := []struct {
		name string
		run  func(t *testing.T, b bus.Bus)
	}{
		{"a subscriber gets what is there, in order, and then what comes", inOrder},
		{"a record arrives as it was recorded", asRecorded},
		{"a subscriber may come before its publisher", subscriberFirst},
		{"a subscriber goes on from its place", fromPlace},
		{"a place without the bus's own hint is enough", fromPosition},
		{"a filter lets only its subjects through", filtered},
		{"sources do not mix", sources},
		{"every subscriber gets everything", fanOut},
		{"two publishers of one source publish each position once", twoPublishers},
		{"a publisher that stops and comes back leaves no gap", publisherBack},
		{"publishing ends with its context and without an error", publishEnds},
		{"subscribing ends with its context", subscribeEnds},
		{"breaking out of a subscription ends it", breakOut},
		{"a table that was cut back is refused", ahead},
		{"a wake is quick on an idle bus", quick},
		{"next finds the first message of a filter", searcher},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t)) })
	}
}

var all = bus.Filter{Source: "order"}

func inOrder(t *testing.T, b bus.Bus) {
	table := NewTable("order")
	table.Add(2500)
	Publish(t, b, table)
	f := Follow(t, b, all, bus.Place{})
	f.Want(1, 2500)
	for range 20 {
		table.Add(25)
	}
	f.Want(2501, 3000)
}

func asRecorded(t *testing.T, b bus.Bus) {
	table := NewTable("order")
	table.Add(1)
	table.mu.Lock()
	table.rows[0].Stream = event.Stream{Category: "order", ID: "ö 1/2%\"\n"}
	table.rows[0].Schema = 3
	table.rows[0].Meta = event.Meta{
		Correlation: "c", Causation: "d", Tenant: "t", Actor: "ann <a@example.org>",
		TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		Tags:        []string{"course:c1", "ä,b"}, Ext: map[string]string{"region": "eu", "Not-A-Name": "x\r\ny"},
	}
	want := table.rows[0]
	table.mu.Unlock()
	Publish(t, b, table)
	m := Follow(t, b, all, bus.Place{}).Next()
	if !reflect.DeepEqual(m.Record, want) {
		t.Errorf("got\n%+v, want\n%+v", m.Record, want)
	}
	if wantS := bus.Subject("order", want); m.Subject != wantS || m.Source != "order" {
		t.Errorf("got subject %q of %q, want %q of order", m.Subject, m.Source, wantS)
	}
	if m.Place.Epoch != table.epoch || m.Place.Position != 1 {
		t.Errorf("got place %+v, want position 1 of %s", m.Place, table.epoch)
	}
}

func subscriberFirst(t *testing.T, b bus.Bus) {
	f := Follow(t, b, all, bus.Place{})
	table := NewTable("order")
	table.Add(3)
	Publish(t, b, table)
	f.Want(1, 3)
}

func fromPlace(t *testing.T, b bus.Bus) {
	table := NewTable("order")
	table.Add(10)
	Publish(t, b, table)
	f := Follow(t, b, all, bus.Place{})
	f.Want(1, 4)
	f.Stop()
	g := Follow(t, b, all, f.Last())
	g.Want(5, 10)
	table.Add(1)
	g.Want(11, 11)
	Follow(t, b, all, g.Last()).Quiet(50 * time.Millisecond)
}

func fromPosition(t *testing.T, b bus.Bus) {
	table := NewTable("order")
	table.Add(300)
	Publish(t, b, table)
	Follow(t, b, all, bus.Place{}).Want(1, 300)
	f := Follow(t, b, all, bus.Place{Epoch: table.epoch, Position: 123})
	f.Want(124, 300)
	g := Follow(t, b, all, bus.Place{Epoch: table.epoch, Position: 123, Seq: 1 << 40})
	g.Want(124, 300)
	h := Follow(t, b, all, bus.Place{Epoch: table.epoch, Position: 123, Seq: 7})
	h.Want(124, 300)
}

func filtered(t *testing.T, b bus.Bus) {
	table := NewTable("order")
	kitchen := event.Stream{Category: "$cmd.kitchen"}
	for range 10 {
		table.AddTo(event.Stream{Category: "order"}, "order.placed")
		table.AddTo(kitchen, "create-ticket")
		table.AddTo(event.Stream{Category: "menu"}, "menu.revised")
	}
	Publish(t, b, table)
	tests := []struct {
		subjects []string
		want     []event.Position
	}{
		{[]string{"cmd.kitchen.>"}, []event.Position{2, 5, 8}},
		{[]string{"evt.order.order.>", "cmd.kitchen.>"}, []event.Position{1, 2, 4, 5}},
		{[]string{"evt.order.*.*.menu.revised"}, []event.Position{3, 6, 9}},
		{nil, []event.Position{1, 2, 3, 4}},
	}
	for _, tt := range tests {
		f := Follow(t, b, bus.Filter{Source: "order", Subjects: tt.subjects}, bus.Place{})
		for _, want := range tt.want {
			if m := f.Next(); m.Place.Position != want {
				t.Errorf("filter %q: got position %d, want %d", tt.subjects, m.Place.Position, want)
			}
		}
	}
}

func sources(t *testing.T, b bus.Bus) {
	order, kitchen := NewTable("order"), NewTable("kitchen")
	cmd := event.Stream{Category: "$cmd.accounting"}
	order.AddTo(cmd, "authorize")
	kitchen.AddTo(event.Stream{Category: "ticket"}, "ticket.created")
	kitchen.AddTo(cmd, "bill")
	Publish(t, b, order)
	Publish(t, b, kitchen)
	f := bus.Filter{Source: "kitchen", Subjects: []string{"cmd.accounting.>"}}
	if m := Follow(t, b, f, bus.Place{}).Next(); m.Type != "bill" || m.Source != "kitchen" {
		t.Errorf("got %q of %q, want the bill of the kitchen", m.Type, m.Source)
	}
	f.Source = "order"
	if m := Follow(t, b, f, bus.Place{}).Next(); m.Type != "authorize" || m.Source != "order" {
		t.Errorf("got %q of %q, want the authorization of order", m.Type, m.Source)
	}
}

func fanOut(t *testing.T, b bus.Bus) {
	table := NewTable("order")
	Publish(t, b, table)
	var fs []*Follower
	for range 5 {
		fs = append(fs, Follow(t, b, all, bus.Place{}))
	}
	table.Add(200)
	for _, f := range fs {
		f.Want(1, 200)
	}
}

func twoPublishers(t *testing.T, b bus.Bus) {
	table := NewTable("order")
	Publish(t, b, table)
	Publish(t, b, table)
	f := Follow(t, b, all, bus.Place{})
	for range 100 {
		table.Add(10)
	}
	f.Want(1, 1000)
}

func publisherBack(t *testing.T, b bus.Bus) {
	table := NewTable("order")
	f := Follow(t, b, all, bus.Place{})
	for i := range 5 {
		stop := Publish(t, b, table)
		table.Add(100)
		f.Want(event.Position(i*100+1), event.Position(i*100+50))
		stop()
		if i < 4 {
			stop = Publish(t, b, table)
		} else {
			Publish(t, b, table)
		}
		f.Want(event.Position(i*100+51), event.Position(i*100+100))
		stop()
	}
}

func publishEnds(t *testing.T, b bus.Bus) {
	ctx, cancel := context.WithCancel(context.Background())
	table := NewTable("order")
	table.Add(1)
	done := make(chan error, 1)
	go func() { done <- b.Publish(ctx, table) }()
	Follow(t, b, all, bus.Place{}).Want(1, 1)
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("got error %v, want none", err)
		}
	case <-time.After(Patience):
		t.Fatal("Publish did not return")
	}
}

func subscribeEnds(t *testing.T, b bus.Bus) {
	for _, published := range []bool{false, true} {
		if published {
			Publish(t, b, NewTable("order"))
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for range b.Subscribe(ctx, all, bus.Place{}) {
				t.Error("got a message from an empty table")
			}
		}()
		cancel()
		select {
		case <-done:
		case <-time.After(Patience):
			t.Fatal("Subscribe did not end")
		}
	}
}

func breakOut(t *testing.T, b bus.Bus) {
	table := NewTable("order")
	table.Add(10)
	Publish(t, b, table)
	n := 0
	for _, err := range b.Subscribe(t.Context(), all, bus.Place{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("got %d messages, want 3", n)
	}
}

// ahead: either the publisher or the subscriber must notice.
func ahead(t *testing.T, b bus.Bus) {
	table := NewTable("order")
	table.Add(10)
	stop := Publish(t, b, table)
	f := Follow(t, b, all, bus.Place{})
	f.Want(1, 10)
	f.Stop()
	stop()
	table.Cut(6)

	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	var wg sync.WaitGroup
	errs := make(chan error, 2)
	wg.Go(func() {
		if err := b.Publish(ctx, table); err != nil {
			errs <- err
		}
	})
	wg.Go(func() {
		for _, err := range b.Subscribe(ctx, all, f.Last()) {
			if err != nil {
				errs <- err
			} else {
				t.Error("got a message behind the end of the table")
			}
		}
	})
	if err := <-errs; !errors.Is(err, bus.ErrAhead) {
		t.Errorf("got error %v, want ErrAhead", err)
	}
	cancel()
	wg.Wait()
}

func quick(t *testing.T, b bus.Bus) {
	table := NewTable("order")
	Publish(t, b, table)
	f := Follow(t, b, all, bus.Place{})
	table.Add(1)
	f.Want(1, 1)
	best := Patience
	for i := range 20 {
		start := time.Now()
		table.Add(1)
		f.Want(event.Position(i+2), event.Position(i+2))
		best = min(best, time.Since(start))
	}
	if best > 20*time.Millisecond {
		t.Errorf("the quickest of 20 messages took %v, want at most 20ms", best)
	}
	t.Logf("quickest of 20: %v", best)
}

func searcher(t *testing.T, b bus.Bus) {
	s, ok := b.(bus.Searcher)
	if !ok {
		t.Fatal("the bus is no bus.Searcher")
	}
	table := NewTable("order")
	table.Add(3)
	table.AddTo(event.Stream{Category: "$cmd.kitchen"}, "create-ticket")
	table.Add(3)
	Publish(t, b, table)
	Follow(t, b, all, bus.Place{}).Want(1, 7)
	commands := bus.Filter{Source: "order", Subjects: []string{"cmd.>"}}
	place := func(p event.Position) bus.Place { return bus.Place{Epoch: table.epoch, Position: p} }
	tests := []struct {
		name   string
		filter bus.Filter
		after  bus.Place
		until  event.Position
		want   event.Position
		err    error
	}{
		{"from the beginning", commands, bus.Place{}, 7, 4, nil},
		{"before it", commands, place(2), 4, 4, nil},
		{"none so early", commands, place(1), 3, 0, nil},
		{"none behind it", commands, place(4), 7, 0, nil},
		{"all", all, place(5), 7, 6, nil},
		{"the bus is not there yet", commands, place(4), 8, 0, bus.ErrNotYet},
	}
	if last, err := s.Last(t.Context(), "order"); err != nil || last.Epoch != table.epoch || last.Position != 7 {
		t.Errorf("the last place is %+v, error %v; want position 7", last, err)
	}
	for _, tt := range tests {
		got, found, err := s.Next(t.Context(), tt.filter, tt.after, tt.until)
		if got != tt.want || found != (tt.want > 0) || !errors.Is(err, tt.err) {
			t.Errorf("%s: got %d, %v, %v; want %d, %v", tt.name, got, found, err, tt.want, tt.err)
		}
	}
}
