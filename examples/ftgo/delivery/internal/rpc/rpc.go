// Package rpc is the server adapter of the delivery service: it checks who
// calls and turns messages into calls and errors into codes.
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
	"github.com/cleave-go/cleave/examples/ftgo/delivery/deliveryapi"
	"github.com/cleave-go/cleave/examples/ftgo/delivery/internal/deliveries"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/sqldb"
)

const (
	maxBatch  = 200
	maxID     = 100         // bytes
	readyWait = time.Second // for the kitchen's event behind a pick-up that follows at once
)

// Server serves deliveryapi.DeliveryService.
type Server struct {
	db    *sqldb.DB
	epoch string
}

// New returns a server of the deliveries in db, whose events are of epoch.
func New(db *sqldb.DB, epoch string) *Server { return &Server{db: db, epoch: epoch} }

// SetCourierAvailability is for the courier itself and for admins.
func (s *Server) SetCourierAvailability(ctx context.Context, req *deliveryapi.SetCourierAvailabilityRequest) (*deliveryapi.Courier, error) {
	caller, err := auth.Require(ctx, "courier", "admin")
	if err != nil {
		return nil, err
	}
	if req.CourierId == "" || len(req.CourierId) > maxID {
		return nil, rpi.InvalidField("courierId", fmt.Sprintf("has %d bytes; an id has 1 to %d", len(req.CourierId), maxID))
	}
	if !caller.Has("admin") && caller.Subject != req.CourierId {
		return nil, connect.NewError(connect.CodePermissionDenied, "only the courier may say whether it is available")
	}
	err = s.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		return deliveries.SetAvailable(ctx, tx, req.CourierId, req.Available)
	})
	if err != nil {
		return nil, err
	}
	return &deliveryapi.Courier{Id: req.CourierId, Available: req.Available}, nil
}

// RecordPickUp is for the delivery's courier and for admins. When the kitchen's
// word that the food is ready is still under way, it waits for it, for a second at most.
func (s *Server) RecordPickUp(ctx context.Context, req *deliveryapi.RecordPickUpRequest) (*deliveryapi.Delivery, error) {
	waiting, cancel := context.WithTimeout(ctx, readyWait)
	defer cancel()
	for {
		seen := s.db.Committed()
		d, err := s.carry(ctx, req.OrderId, deliveries.RecordPickUp)
		if !errors.Is(err, deliveries.ErrNotReady) {
			return d, wireError(err)
		}
		if _, waitErr := s.db.AwaitCommit(waiting, seen); waitErr != nil {
			return nil, wireError(err)
		}
	}
}

// RecordDropOff is for the delivery's courier and for admins.
func (s *Server) RecordDropOff(ctx context.Context, req *deliveryapi.RecordDropOffRequest) (*deliveryapi.Delivery, error) {
	d, err := s.carry(ctx, req.OrderId, deliveries.RecordDropOff)
	return d, wireError(err)
}

// BatchGet returns those deliveries that exist and the caller may see: a
// consumer, a restaurant and a courier their own, an admin all.
func (s *Server) BatchGet(ctx context.Context, req *deliveryapi.BatchGetRequest) (*deliveryapi.BatchGetResponse, error) {
	caller, err := auth.Require(ctx, "consumer", "restaurant", "courier", "admin")
	if err != nil {
		return nil, err
	}
	if len(req.OrderIds) > maxBatch {
		return nil, rpi.InvalidField("orderIds", fmt.Sprintf("has %d entries; at most %d are answered", len(req.OrderIds), maxBatch))
	}
	found, err := deliveries.BatchGet(ctx, s.db, req.OrderIds)
	if err != nil {
		return nil, err
	}
	res := &deliveryapi.BatchGetResponse{}
	for _, d := range found {
		switch caller.Subject {
		case d.ConsumerID, d.RestaurantID, d.CourierID:
		default:
			if !caller.Has("admin") {
				continue
			}
		}
		res.Deliveries = append(res.Deliveries, message(d))
	}
	return res, nil
}

type step func(ctx context.Context, tx sqldb.Tx, orderID string, mayCarry func(string) bool, now time.Time) (deliveries.Delivery, eventsource.Commit, error)

func (s *Server) carry(ctx context.Context, orderID string, take step) (*deliveryapi.Delivery, error) {
	caller, err := auth.Require(ctx, "courier", "admin")
	if err != nil {
		return nil, err
	}
	mayCarry := func(courierID string) bool { return caller.Has("admin") || caller.Subject == courierID }
	var (
		d      deliveries.Delivery
		commit eventsource.Commit
	)
	err = s.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		var err error
		d, commit, err = take(ctx, tx, orderID, mayCarry, time.Now().UTC())
		return err
	})
	if err != nil {
		return nil, err
	}
	rpi.Committed(ctx, "delivery", s.epoch, commit.Position)
	return message(d), nil
}

func wireError(err error) error {
	var state *deliveries.StateError
	switch {
	case errors.As(err, &state):
		return connect.NewError(connect.CodeFailedPrecondition, state.Error())
	case errors.Is(err, deliveries.ErrNotReady):
		return connect.NewError(connect.CodeFailedPrecondition, deliveries.ErrNotReady.Error())
	case errors.Is(err, deliveries.ErrUnknown):
		return connect.NewError(connect.CodeNotFound, deliveries.ErrUnknown.Error())
	default:
		return err
	}
}

func message(d deliveries.Delivery) *deliveryapi.Delivery {
	m := &deliveryapi.Delivery{
		OrderId: d.OrderID, ConsumerId: d.ConsumerID, RestaurantId: d.RestaurantID,
		Status:     deliveryapi.DeliveryStatus(deliveryapi.DeliveryStatus_value[string(d.Status)]),
		PickUpTime: timestamp(d.PickUpTime), DeliveryTime: timestamp(d.DeliveryTime),
	}
	if d.CourierID != "" {
		m.Courier = &deliveryapi.Courier{Id: d.CourierID, Available: d.CourierAvailable}
	}
	return m
}

func timestamp(t *time.Time) *timestamppb.Timestamp {
	if t == nil {
		return nil
	}
	return timestamppb.New(*t)
}
