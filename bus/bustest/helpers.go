package bustest

import (
	"context"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
)

// Patience is how long a test waits for something that must happen.
const Patience = 30 * time.Second

// Publish publishes s on b, and again after an error as a relay does, until the
// returned function is called or the test ends.
func Publish(t testing.TB, b bus.Bus, s bus.Source) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := b.Publish(ctx, s); err != nil {
				select {
				case <-time.After(20 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// Follower is a subscription that runs for the length of a test.
type Follower struct {
	t    testing.TB
	c    chan bus.Message
	stop func()
	last bus.Place
}

// Follow subscribes to b behind a place.
func Follow(t testing.TB, b bus.Bus, f bus.Filter, after bus.Place) *Follower {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	fo := &Follower{t: t, c: make(chan bus.Message), last: after, stop: func() { cancel(); <-done }}
	go func() {
		defer close(done)
		for m, err := range b.Subscribe(ctx, f, after) {
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("subscribe to %s: %v", f.Source, err)
				}
				return
			}
			select {
			case fo.c <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(fo.stop)
	return fo
}

// Stop ends the subscription.
func (f *Follower) Stop() { f.stop() }

// Last returns the place of the last message that was taken.
func (f *Follower) Last() bus.Place { return f.last }

// Next returns the next message that is not a repetition.
func (f *Follower) Next() bus.Message {
	f.t.Helper()
	deadline := time.After(Patience)
	for {
		select {
		case m := <-f.c:
			if m.Place.Compare(f.last) <= 0 {
				continue
			}
			f.last = m.Place
			return m
		case <-deadline:
			f.t.Fatalf("no message within %v behind %+v", Patience, f.last)
		}
	}
}

// Want takes the messages of the positions from to to and fails unless they
// come in this order with none between them.
func (f *Follower) Want(from, to event.Position) {
	f.t.Helper()
	for p := from; p <= to; p++ {
		if m := f.Next(); m.Place.Position != p {
			f.t.Fatalf("got position %d, want %d", m.Place.Position, p)
		}
	}
}

// Quiet fails when a message comes within d.
func (f *Follower) Quiet(d time.Duration) {
	f.t.Helper()
	select {
	case m := <-f.c:
		if m.Place.Compare(f.last) > 0 {
			f.t.Fatalf("got position %d, want nothing", m.Place.Position)
		}
	case <-time.After(d):
	}
}
