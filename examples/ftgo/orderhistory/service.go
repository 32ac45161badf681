// Package orderhistory is the CQRS view of consumers' orders.
package orderhistory

import (
	"context"
	"embed"

	"github.com/cleave-go/cleave/examples/ftgo/orderhistory/internal/history"
	"github.com/cleave-go/cleave/examples/ftgo/orderhistory/internal/rpc"
	"github.com/cleave-go/cleave/examples/ftgo/orderhistory/orderhistoryapi"
	"github.com/cleave-go/cleave/projection"
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
	views, err := projection.NewRunner(db, host.Bus(), nil, history.Projection())
	if err != nil {
		return err
	}
	orderhistoryapi.RegisterOrderHistoryServiceHandler(host.Server(), rpc.New(db, views))
	host.Run("views", views.Run)
	host.Operate("projection", views.Operations())
	return nil
}
