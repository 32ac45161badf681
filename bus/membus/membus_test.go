package membus_test

import (
	"context"
	"errors"
	"iter"
	"testing"
	"testing/synctest"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/bustest"
	"github.com/cleave-go/cleave/bus/membus"
	"github.com/cleave-go/cleave/event"
)

func TestBus(t *testing.T) {
	bustest.Run(t, func(*testing.T) bus.Bus { return membus.New() })
}

func TestANewEpochIsReadFromItsBeginning(t *testing.T) {
	b, table := membus.New(), bustest.NewTable("order")
	table.Add(3)
	stop := bustest.Publish(t, b, table)
	f := bustest.Follow(t, b, bus.Filter{Source: "order"}, bus.Place{})
	f.Want(1, 3)
	stop()
	table.SetEpoch("018f0000-0000-7000-8000-000000000002")
	bustest.Publish(t, b, table)
	f.Want(1, 3)
}

// closing is a source whose database closes with its process.
type closing struct {
	*bustest.Table
	ctx context.Context
}

func (c closing) Feed(context.Context, event.Position, bool) iter.Seq2[event.Record, error] {
	return func(yield func(event.Record, error) bool) {
		<-c.ctx.Done()
		yield(event.Record{}, errors.New("the database is closed"))
	}
}

func TestASourceThatEndsIsNoErrorOfItsSubscribers(t *testing.T) {
	for range 500 {
		synctest.Test(t, func(t *testing.T) {
			b := membus.New()
			process, end := context.WithCancel(t.Context())
			go b.Publish(process, closing{bustest.NewTable("order"), process})
			var said error
			go func() {
				for _, err := range b.Subscribe(t.Context(), bus.Filter{Source: "order"}, bus.Place{}) {
					said = err
				}
			}()
			synctest.Wait()
			end()
			synctest.Wait()
			if said != nil {
				t.Fatal(said)
			}
		})
	}
}
