// Package consumer is the consumer service: who may order, and with which card.
package consumer

import (
	"context"
	"embed"
	"errors"

	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/examples/ftgo/consumer/consumerapi"
	"github.com/cleave-go/cleave/examples/ftgo/consumer/internal/consumers"
	"github.com/cleave-go/cleave/examples/ftgo/consumer/internal/rpc"
	"github.com/cleave-go/cleave/outbox"
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
	cs := consumers.New(db)
	consumerapi.RegisterConsumerServiceHandler(host.Server(), rpc.New(cs, epoch))

	commands, err := saga.NewParticipant("consumer", db, host.Bus(), []string{"order"}, nil,
		saga.Handle(consumerapi.ValidateOrder, validateOrder(cs)))
	if err != nil {
		return err
	}
	host.Run("commands", commands.Run)
	host.Run("relay", outbox.NewRelay("consumer", db, host.Bus(), nil).Run)
	return nil
}

// validateOrder answers the CreateOrder saga: any registered consumer may order.
func validateOrder(cs *consumers.Consumers) func(context.Context, sqldb.Tx, consumerapi.ValidateOrderCommand) (consumerapi.ValidateOrderReply, error) {
	return func(ctx context.Context, tx sqldb.Tx, cmd consumerapi.ValidateOrderCommand) (consumerapi.ValidateOrderReply, error) {
		c, err := cs.Find(ctx, tx, cmd.ConsumerID)
		if errors.Is(err, consumers.ErrUnknown) {
			return consumerapi.ValidateOrderReply{}, saga.Refuse(consumerapi.ConsumerUnknown, err.Error())
		}
		return consumerapi.ValidateOrderReply{CardVersion: c.CardVersion}, err
	}
}
