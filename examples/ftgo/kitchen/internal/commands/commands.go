// Package commands answers what the order service's sagas ask of the kitchen.
package commands

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/cleave-go/cleave/examples/ftgo/kitchen/internal/menus"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/internal/tickets"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/kitchenapi"
	"github.com/cleave-go/cleave/saga"
	"github.com/cleave-go/cleave/sqldb"
)

// Handlers returns the handlers of all commands.
func Handlers() []saga.Handler {
	return []saga.Handler{
		saga.Handle(kitchenapi.CreateTicket, createTicket),
		saga.Handle(kitchenapi.CancelCreateTicket, cancelCreateTicket),
		saga.Handle(kitchenapi.ConfirmCreateTicket, change((*tickets.Ticket).ConfirmCreate)),
		saga.Handle(kitchenapi.BeginCancelTicket, change((*tickets.Ticket).BeginCancel)),
		saga.Handle(kitchenapi.ConfirmCancelTicket, change((*tickets.Ticket).ConfirmCancel)),
		saga.Handle(kitchenapi.UndoCancelTicket, change((*tickets.Ticket).UndoCancel)),
		saga.Handle(kitchenapi.BeginReviseTicket, beginReviseTicket),
		saga.Handle(kitchenapi.ConfirmReviseTicket, change((*tickets.Ticket).ConfirmRevise)),
		saga.Handle(kitchenapi.UndoReviseTicket, change((*tickets.Ticket).UndoRevise)),
	}
}

func createTicket(ctx context.Context, tx sqldb.Tx, cmd kitchenapi.CreateTicketCommand) (kitchenapi.Done, error) {
	if err := onTheMenu(ctx, tx, cmd.RestaurantID, cmd.MenuVersion, cmd.LineItems); err != nil {
		return kitchenapi.Done{}, err
	}
	return kitchenapi.Done{}, tickets.Create(ctx, tx, tickets.Ticket{
		OrderID: cmd.OrderID, RestaurantID: cmd.RestaurantID, ConsumerID: cmd.ConsumerID, Items: cmd.LineItems,
	})
}

func cancelCreateTicket(ctx context.Context, tx sqldb.Tx, cmd kitchenapi.TicketCommand) (kitchenapi.Done, error) {
	return kitchenapi.Done{}, tickets.CancelCreate(ctx, tx, cmd.OrderID)
}

func beginReviseTicket(ctx context.Context, tx sqldb.Tx, cmd kitchenapi.ReviseTicketCommand) (kitchenapi.Done, error) {
	_, _, err := tickets.Change(ctx, tx, cmd.OrderID, func(t *tickets.Ticket) ([]kitchenapi.Event, error) {
		if err := onTheMenu(ctx, tx, t.RestaurantID, cmd.MenuVersion, cmd.LineItems); err != nil {
			return nil, err
		}
		return t.BeginRevise(cmd.LineItems)
	})
	return kitchenapi.Done{}, outcome(err)
}

// change answers a command that is one step of a ticket.
func change(step func(*tickets.Ticket) ([]kitchenapi.Event, error)) func(context.Context, sqldb.Tx, kitchenapi.TicketCommand) (kitchenapi.Done, error) {
	return func(ctx context.Context, tx sqldb.Tx, cmd kitchenapi.TicketCommand) (kitchenapi.Done, error) {
		_, _, err := tickets.Change(ctx, tx, cmd.OrderID, step)
		return kitchenapi.Done{}, outcome(err)
	}
}

func onTheMenu(ctx context.Context, tx sqldb.Tx, restaurantID string, version int64, items []kitchenapi.TicketItem) error {
	ids := make([]string, len(items))
	for i, item := range items {
		ids[i] = item.MenuItemID
	}
	missing, err := menus.Missing(ctx, tx, restaurantID, version, ids)
	switch {
	case errors.Is(err, menus.ErrNotYet):
		return saga.ErrNotYet
	case err != nil:
		return err
	case len(missing) > 0:
		return saga.Refuse(kitchenapi.RestaurantRefused, fmt.Sprintf("not on the menu: %s", strings.Join(missing, ", ")))
	}
	return nil
}

// outcome turns what a ticket does not allow into a refusal.
func outcome(err error) error {
	var state *tickets.StateError
	if errors.As(err, &state) || errors.Is(err, tickets.ErrUnknown) {
		return saga.Refuse(kitchenapi.TicketState, err.Error())
	}
	return err
}
