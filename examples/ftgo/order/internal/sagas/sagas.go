// Package sagas defines how an order is created, cancelled and revised across
// services. The order service coordinates; consumer, kitchen and accounting
// take part.
package sagas

import (
	"context"
	"time"

	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/examples/ftgo/accounting/accountingapi"
	"github.com/cleave-go/cleave/examples/ftgo/consumer/consumerapi"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/kitchenapi"
	"github.com/cleave-go/cleave/examples/ftgo/order/internal/domain"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
	"github.com/cleave-go/cleave/saga"
	"github.com/cleave-go/cleave/sqldb"
)

// Orders is the repository that the local steps write to.
type Orders = eventsource.Repository[domain.State, domain.Command, orderapi.Event]

// patience is how long a participant may take before an order is given up.
const patience = 20 * time.Second

// Sagas holds the three definitions.
type Sagas struct {
	Create *saga.Saga[CreateOrder]
	Cancel *saga.Saga[CancelOrder]
	Revise *saga.Saga[ReviseOrder]
}

// New returns the sagas of orders.
func New(orders *Orders) Sagas {
	return Sagas{Create: create(orders), Cancel: cancel(orders), Revise: revise(orders)}
}

// CreateOrder is the data of the saga that begins with a placed order.
type CreateOrder struct {
	OrderID      string                  `json:"orderId"`
	ConsumerID   string                  `json:"consumerId"`
	RestaurantID string                  `json:"restaurantId"`
	LineItems    []kitchenapi.TicketItem `json:"lineItems"`
	MenuVersion  int64                   `json:"menuVersion"`
	Total        orderapi.Amount         `json:"total"`
	CardVersion  int64                   `json:"cardVersion"` // learnt from the consumer service
}

func create(orders *Orders) *saga.Saga[CreateOrder] {
	return saga.Define("create-order",
		saga.Local[CreateOrder]("place", nil).
			Undo(saga.Locally(func(ctx context.Context, tx sqldb.Tx, d *CreateOrder, why saga.Failure) error {
				return handle(ctx, tx, orders, d.OrderID, domain.Reject{Reason: why.Code})
			})),
		saga.Call("validate-consumer", consumerapi.ValidateOrder,
			func(d *CreateOrder) consumerapi.ValidateOrderCommand {
				return consumerapi.ValidateOrderCommand{ConsumerID: d.ConsumerID, OrderID: d.OrderID}
			},
			func(d *CreateOrder, r consumerapi.ValidateOrderReply) { d.CardVersion = r.CardVersion }).
			ReadOnly().Timeout(patience),
		saga.Call("create-ticket", kitchenapi.CreateTicket,
			func(d *CreateOrder) kitchenapi.CreateTicketCommand {
				return kitchenapi.CreateTicketCommand{
					OrderID: d.OrderID, RestaurantID: d.RestaurantID, ConsumerID: d.ConsumerID,
					LineItems: d.LineItems, MenuVersion: d.MenuVersion,
				}
			}, nil).
			Undo(saga.Command(kitchenapi.CancelCreateTicket, func(d *CreateOrder, _ saga.Failure) kitchenapi.TicketCommand {
				return kitchenapi.TicketCommand{OrderID: d.OrderID}
			})).Timeout(patience),
		saga.Call("authorize-card", accountingapi.Authorize,
			func(d *CreateOrder) accountingapi.AuthorizeCommand {
				return accountingapi.AuthorizeCommand{
					OrderID: d.OrderID, ConsumerID: d.ConsumerID, CardVersion: d.CardVersion,
					Total: d.Total.Amount, Currency: d.Total.Currency,
				}
			}, nil).
			Pivot().Timeout(patience).
			Undo(saga.Command(accountingapi.Reverse, func(d *CreateOrder, _ saga.Failure) accountingapi.ReverseCommand {
				return accountingapi.ReverseCommand{OrderID: d.OrderID}
			})),
		saga.Call("confirm-ticket", kitchenapi.ConfirmCreateTicket, func(d *CreateOrder) kitchenapi.TicketCommand {
			return kitchenapi.TicketCommand{OrderID: d.OrderID}
		}, nil),
		saga.Local("approve", func(ctx context.Context, tx sqldb.Tx, d *CreateOrder) error {
			return handle(ctx, tx, orders, d.OrderID, domain.Approve{})
		}),
	)
}

// CancelOrder is the data of the saga that begins with a requested cancellation.
type CancelOrder struct {
	OrderID string `json:"orderId"`
}

func cancel(orders *Orders) *saga.Saga[CancelOrder] {
	ticket := func(d *CancelOrder) kitchenapi.TicketCommand { return kitchenapi.TicketCommand{OrderID: d.OrderID} }
	return saga.Define("cancel-order",
		saga.Local[CancelOrder]("request", nil).
			Undo(saga.Locally(func(ctx context.Context, tx sqldb.Tx, d *CancelOrder, why saga.Failure) error {
				return handle(ctx, tx, orders, d.OrderID, domain.RefuseCancellation{Reason: why.Code})
			})),
		saga.Call("begin-cancel-ticket", kitchenapi.BeginCancelTicket, ticket, nil).
			Undo(saga.Command(kitchenapi.UndoCancelTicket, func(d *CancelOrder, _ saga.Failure) kitchenapi.TicketCommand { return ticket(d) })).
			Timeout(patience),
		saga.Call("reverse-authorization", accountingapi.Reverse, func(d *CancelOrder) accountingapi.ReverseCommand {
			return accountingapi.ReverseCommand{OrderID: d.OrderID}
		}, nil).Pivot(),
		saga.Call("confirm-cancel-ticket", kitchenapi.ConfirmCancelTicket, ticket, nil),
		saga.Local("cancel", func(ctx context.Context, tx sqldb.Tx, d *CancelOrder) error {
			return handle(ctx, tx, orders, d.OrderID, domain.ConfirmCancellation{})
		}),
	)
}

// ReviseOrder is the data of the saga that begins with a proposed revision.
type ReviseOrder struct {
	OrderID     string                  `json:"orderId"`
	LineItems   []kitchenapi.TicketItem `json:"lineItems"`
	MenuVersion int64                   `json:"menuVersion"`
	Total       orderapi.Amount         `json:"total"`
}

func revise(orders *Orders) *saga.Saga[ReviseOrder] {
	ticket := func(d *ReviseOrder) kitchenapi.TicketCommand { return kitchenapi.TicketCommand{OrderID: d.OrderID} }
	return saga.Define("revise-order",
		saga.Local[ReviseOrder]("propose", nil).
			Undo(saga.Locally(func(ctx context.Context, tx sqldb.Tx, d *ReviseOrder, why saga.Failure) error {
				return handle(ctx, tx, orders, d.OrderID, domain.RefuseRevision{Reason: why.Code})
			})),
		saga.Call("begin-revise-ticket", kitchenapi.BeginReviseTicket,
			func(d *ReviseOrder) kitchenapi.ReviseTicketCommand {
				return kitchenapi.ReviseTicketCommand{OrderID: d.OrderID, LineItems: d.LineItems, MenuVersion: d.MenuVersion}
			}, nil).
			Undo(saga.Command(kitchenapi.UndoReviseTicket, func(d *ReviseOrder, _ saga.Failure) kitchenapi.TicketCommand { return ticket(d) })).
			Timeout(patience),
		saga.Call("revise-authorization", accountingapi.ReviseAuthorization,
			func(d *ReviseOrder) accountingapi.ReviseCommand {
				return accountingapi.ReviseCommand{OrderID: d.OrderID, Total: d.Total.Amount}
			}, nil).Pivot(),
		saga.Call("confirm-revise-ticket", kitchenapi.ConfirmReviseTicket, ticket, nil),
		saga.Local("revise", func(ctx context.Context, tx sqldb.Tx, d *ReviseOrder) error {
			return handle(ctx, tx, orders, d.OrderID, domain.ConfirmRevision{})
		}),
	)
}

func handle(ctx context.Context, tx sqldb.Tx, orders *Orders, id string, cmd domain.Command) error {
	_, err := orders.In(tx).Handle(ctx, id, cmd)
	return err
}
