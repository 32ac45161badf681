// Package delivery is the delivery service: which courier carries which order.
package delivery

import (
	"context"
	"embed"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/examples/ftgo/delivery/deliveryapi"
	"github.com/cleave-go/cleave/examples/ftgo/delivery/internal/deliveries"
	"github.com/cleave-go/cleave/examples/ftgo/delivery/internal/rpc"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/kitchenapi"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/service"
	"github.com/cleave-go/cleave/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// New registers the service with host.
func New(ctx context.Context, host *service.Host) error {
	db, err := host.DB(ctx, migrations)
	if err != nil {
		return err
	}
	epoch, err := sqlstore.New(db).Epoch(ctx)
	if err != nil {
		return err
	}
	deliveryapi.RegisterDeliveryServiceHandler(host.Server(), rpc.New(db, epoch))
	tickets, err := projection.NewRunner(db, host.Bus(), nil, tickets())
	if err != nil {
		return err
	}
	host.Run("tickets", tickets.Run)
	host.Operate("projection", tickets.Operations())
	host.Run("relay", outbox.NewRelay("delivery", db, host.Bus(), nil).Run)
	return nil
}

// tickets moves deliveries as the kitchen's tickets move.
func tickets() projection.Projection {
	return projection.Projection{
		Name: "tickets", Version: 1, Sources: []string{"kitchen"},
		Apply: projection.On(kitchenapi.Codec, func(ctx context.Context, tx sqldb.Tx, e event.Envelope[kitchenapi.Event]) error {
			orderID := e.Stream.ID
			switch data := e.Data.(type) {
			case kitchenapi.Created:
				return deliveries.Create(ctx, tx, deliveries.Delivery{OrderID: orderID, ConsumerID: data.ConsumerID, RestaurantID: data.RestaurantID})
			case kitchenapi.Accepted:
				return deliveries.Accept(ctx, tx, orderID, data.ReadyBy)
			case kitchenapi.PreparationCompleted:
				return deliveries.Ready(ctx, tx, orderID)
			case kitchenapi.Cancelled:
				return deliveries.Cancel(ctx, tx, orderID)
			case kitchenapi.PreparationStarted, kitchenapi.PickedUp, kitchenapi.Revised:
			}
			return nil
		}),
	}
}
