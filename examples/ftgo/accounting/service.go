// Package accounting is the accounting service: whose card covers which order. It is event sourced.
package accounting

import (
	"context"
	"embed"

	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/examples/ftgo/accounting/accountingapi"
	"github.com/cleave-go/cleave/examples/ftgo/accounting/internal/ledger"
	"github.com/cleave-go/cleave/examples/ftgo/accounting/internal/rpc"
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
	books := ledger.New(db, sqlstore.New(db))
	accountingapi.RegisterAccountingServiceHandler(host.Server(), rpc.New(books))

	participant, err := saga.NewParticipant("accounting", db, host.Bus(), []string{"order"}, nil, books.Handlers()...)
	if err != nil {
		return err
	}
	host.Run("commands", participant.Run)
	accounts, err := projection.NewRunner(db, host.Bus(), nil, books.Accounts())
	if err != nil {
		return err
	}
	host.Run("accounts", accounts.Run)
	host.Operate("projection", accounts.Operations())
	host.Run("relay", outbox.NewRelay("accounting", db, host.Bus(), nil).Run)
	return nil
}
