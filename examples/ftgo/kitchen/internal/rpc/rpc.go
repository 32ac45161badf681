// Package rpc is the server adapter of the kitchen: it checks who calls and
// turns messages into calls and errors into codes.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/internal/tickets"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/kitchenapi"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/sqldb"
)

const maxBatch = 200

// Server serves kitchenapi.KitchenService.
type Server struct {
	db    *sqldb.DB
	epoch string
}

// New returns a server of the tickets in db, whose events are of epoch.
func New(db *sqldb.DB, epoch string) *Server { return &Server{db: db, epoch: epoch} }

// AcceptTicket promises when the order is ready.
func (s *Server) AcceptTicket(ctx context.Context, req *kitchenapi.AcceptTicketRequest) (*kitchenapi.Ticket, error) {
	if !req.ReadyBy.IsValid() {
		return nil, rpi.InvalidField("readyBy", "is not a time")
	}
	readyBy := req.ReadyBy.AsTime()
	return s.change(ctx, req.OrderId, func(t *tickets.Ticket) ([]kitchenapi.Event, error) {
		return t.Accept(readyBy, time.Now().UTC())
	})
}

// StartPreparing makes it too late to cancel.
func (s *Server) StartPreparing(ctx context.Context, req *kitchenapi.StartPreparingRequest) (*kitchenapi.Ticket, error) {
	return s.change(ctx, req.OrderId, (*tickets.Ticket).StartPreparing)
}

// FinishPreparing calls for the courier.
func (s *Server) FinishPreparing(ctx context.Context, req *kitchenapi.FinishPreparingRequest) (*kitchenapi.Ticket, error) {
	return s.change(ctx, req.OrderId, (*tickets.Ticket).FinishPreparing)
}

// BatchGet returns those tickets that exist and the caller may see: a
// restaurant and a consumer their own, an admin all.
func (s *Server) BatchGet(ctx context.Context, req *kitchenapi.BatchGetRequest) (*kitchenapi.BatchGetResponse, error) {
	caller, err := auth.Require(ctx, "consumer", "restaurant", "courier", "admin")
	if err != nil {
		return nil, err
	}
	if len(req.OrderIds) > maxBatch {
		return nil, rpi.InvalidField("orderIds", fmt.Sprintf("has %d entries; at most %d are answered", len(req.OrderIds), maxBatch))
	}
	found, err := tickets.BatchGet(ctx, s.db, req.OrderIds)
	if err != nil {
		return nil, err
	}
	res := &kitchenapi.BatchGetResponse{}
	for _, t := range found {
		if caller.Has("admin") || caller.Subject == t.RestaurantID || caller.Subject == t.ConsumerID {
			res.Tickets = append(res.Tickets, message(t))
		}
	}
	return res, nil
}

// change lets the ticket's restaurant, or an admin, take a step.
func (s *Server) change(ctx context.Context, orderID string, step func(*tickets.Ticket) ([]kitchenapi.Event, error)) (*kitchenapi.Ticket, error) {
	caller, err := auth.Require(ctx, "restaurant", "admin")
	if err != nil {
		return nil, err
	}
	var (
		ticket tickets.Ticket
		commit eventsource.Commit
	)
	err = s.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		var err error
		ticket, commit, err = tickets.Change(ctx, tx, orderID, func(t *tickets.Ticket) ([]kitchenapi.Event, error) {
			if !caller.Has("admin") && caller.Subject != t.RestaurantID {
				return nil, tickets.ErrUnknown
			}
			return step(t)
		})
		return err
	})
	if err != nil {
		return nil, wireError(err)
	}
	rpi.Committed(ctx, "kitchen", s.epoch, commit.Position)
	return message(ticket), nil
}

func wireError(err error) error {
	var (
		state   *tickets.StateError
		readyBy *tickets.ReadyByError
	)
	switch {
	case errors.As(err, &readyBy):
		return rpi.InvalidField("readyBy", readyBy.Error())
	case errors.As(err, &state):
		return connect.NewError(connect.CodeFailedPrecondition, state.Error())
	case errors.Is(err, tickets.ErrUnknown):
		return connect.NewError(connect.CodeNotFound, tickets.ErrUnknown.Error())
	default:
		return err
	}
}

func message(t tickets.Ticket) *kitchenapi.Ticket {
	return &kitchenapi.Ticket{
		OrderId: t.OrderID, RestaurantId: t.RestaurantID, ConsumerId: t.ConsumerID,
		Status:  kitchenapi.TicketStatus(kitchenapi.TicketStatus_value[string(t.Status)]),
		ReadyBy: timestamp(t.ReadyBy), AcceptedAt: timestamp(t.AcceptedAt),
	}
}

func timestamp(t *time.Time) *timestamppb.Timestamp {
	if t == nil {
		return nil
	}
	return timestamppb.New(*t)
}
