// Package kitchen is the kitchen service: what restaurants prepare, from ticket to pick-up.
package kitchen

import (
	"context"
	"embed"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/examples/ftgo/delivery/deliveryapi"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/internal/commands"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/internal/menus"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/internal/rpc"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/internal/tickets"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/kitchenapi"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/saga"
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
	kitchenapi.RegisterKitchenServiceHandler(host.Server(), rpc.New(db, epoch))

	participant, err := saga.NewParticipant("kitchen", db, host.Bus(), []string{"order"}, nil, commands.Handlers()...)
	if err != nil {
		return err
	}
	host.Run("commands", participant.Run)
	replicas, err := projection.NewRunner(db, host.Bus(), nil, menus.Projection(), pickUps())
	if err != nil {
		return err
	}
	host.Run("replicas", replicas.Run)
	host.Operate("projection", replicas.Operations())
	host.Run("relay", outbox.NewRelay("kitchen", db, host.Bus(), nil).Run)
	return nil
}

// pickUps moves tickets on when the courier has come.
func pickUps() projection.Projection {
	return projection.Projection{
		Name: "pick-ups", Version: 1, Sources: []string{"delivery"},
		Apply: projection.On(deliveryapi.Codec, func(ctx context.Context, tx sqldb.Tx, e event.Envelope[deliveryapi.Event]) error {
			if _, ok := e.Data.(deliveryapi.PickedUp); !ok {
				return nil
			}
			_, _, err := tickets.Change(ctx, tx, e.Stream.ID, (*tickets.Ticket).PickUp)
			return err
		}),
	}
}
