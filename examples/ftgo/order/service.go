// Package order is the order service: it owns orders, which are event sourced,
// and coordinates the sagas that create, cancel and revise them.
package order

import (
	"context"
	"embed"

	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/examples/ftgo/order/internal/domain"
	"github.com/cleave-go/cleave/examples/ftgo/order/internal/menus"
	"github.com/cleave-go/cleave/examples/ftgo/order/internal/rpc"
	"github.com/cleave-go/cleave/examples/ftgo/order/internal/sagas"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant/restaurantapi"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/saga"
	"github.com/cleave-go/cleave/service"
)

//go:embed migrations/*.sql
var migrations embed.FS

// New registers the service with host.
func New(ctx context.Context, host *service.Host) error {
	db, err := host.DB(ctx, migrations)
	if err != nil {
		return err
	}
	if err := saga.Setup(ctx, db); err != nil {
		return err
	}
	store := sqlstore.New(db)
	epoch, err := store.Epoch(ctx)
	if err != nil {
		return err
	}
	orders := eventsource.NewRepository(store, domain.Decider)
	definitions := sagas.New(orders)
	restaurants := menus.New(db, restaurantapi.NewRestaurantServiceClient(host.Client("restaurant")))
	replicas, err := projection.NewRunner(db, host.Bus(), nil, restaurants.Projection())
	if err != nil {
		return err
	}
	coordinator, err := saga.NewOrchestrator("order", db, host.Bus(), nil, definitions.Create, definitions.Cancel, definitions.Revise)
	if err != nil {
		return err
	}
	orderapi.RegisterOrderServiceHandler(host.Server(), &rpc.Server{
		DB: db, Epoch: epoch, Orders: orders, Sagas: definitions, Menus: restaurants, Replicas: replicas,
	})
	host.Run("replicas", replicas.Run)
	host.Run("sagas", coordinator.Run)
	host.Operate("projection", replicas.Operations())
	host.Operate("saga", coordinator.Operations())
	host.Run("relay", outbox.NewRelay("order", db, host.Bus(), nil).Run)
	return nil
}
