package membus_test

import (
	"context"
	"fmt"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/bustest"
	"github.com/cleave-go/cleave/bus/membus"
	"github.com/cleave-go/cleave/event"
)

func Example() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	table := bustest.NewTable("order") // a service has outbox.NewRelay(…).Run instead
	table.AddTo(event.Stream{Category: "order", ID: "o-1"}, "order.placed")
	table.AddTo(event.Stream{Category: "$cmd.kitchen", ID: "s-1"}, "create-ticket")
	b := membus.New()
	go b.Publish(ctx, table)

	commands := bus.Filter{Source: "order", Subjects: []string{"cmd.kitchen.>"}}
	for m, err := range b.Subscribe(ctx, commands, bus.Place{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(m.Place.Position, m.Subject, string(m.Data))
		break
	}
	// Output: 2 cmd.kitchen.55.create-ticket {"n":2}
}
