package membus_test

import (
	"testing"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/bustest"
	"github.com/cleave-go/cleave/bus/membus"
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
