// Package restaurant is the restaurant service: who cooks, what, and for how much.
package restaurant

import (
	"context"
	"embed"

	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant/internal/restaurants"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant/internal/rpc"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant/restaurantapi"
	"github.com/cleave-go/cleave/outbox"
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
	epoch, err := sqlstore.New(db).Epoch(ctx)
	if err != nil {
		return err
	}
	restaurantapi.RegisterRestaurantServiceHandler(host.Server(), rpc.New(restaurants.New(db), epoch))
	host.Run("relay", outbox.NewRelay("restaurant", db, host.Bus(), nil).Run)
	return nil
}
