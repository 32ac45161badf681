// Package rpc is the server adapter of the order service: it checks who calls,
// starts the sagas and turns messages into commands and errors into codes.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/examples/ftgo/order/internal/domain"
	"github.com/cleave-go/cleave/examples/ftgo/order/internal/menus"
	"github.com/cleave-go/cleave/examples/ftgo/order/internal/sagas"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/sqldb"
)

const (
	maxBatch  = 200
	maxWaitMs = 10_000
	maxText   = 200 // bytes of an id, a key or a line of an address
)

// Server serves orderapi.OrderService.
type Server struct {
	DB       *sqldb.DB
	Epoch    string // of the events in DB
	Orders   *sagas.Orders
	Sagas    sagas.Sagas
	Menus    *menus.Menus
	Replicas *projection.Runner // keeps Menus
}

// PlaceOrder starts the CreateOrder saga for the calling consumer, or, called
// by an admin, for anybody.
func (s *Server) PlaceOrder(ctx context.Context, req *orderapi.PlaceOrderRequest) (*orderapi.Order, error) {
	caller, err := auth.Require(ctx, "consumer", "admin")
	if err != nil {
		return nil, err
	}
	if err := checkPlace(req); err != nil {
		return nil, err
	}
	if !caller.Has("admin") && caller.Subject != req.ConsumerId {
		return nil, connect.NewError(connect.CodePermissionDenied, "an order is placed by the consumer who pays for it")
	}
	id := event.NewID().String()
	if req.IdempotencyKey != "" {
		id = event.DeriveID("order "+req.ConsumerId+" "+req.IdempotencyKey, 0).String()
		placed, err := s.Orders.Load(ctx, id)
		if err != nil {
			return nil, err
		}
		if placed.Version > 0 {
			return s.answer(ctx, id, req.WaitMs)
		}
	}
	menu, items, err := s.price(ctx, req.RestaurantId, req.LineItems)
	if err != nil {
		return nil, wireError(err)
	}
	err = s.DB.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		return s.place(ctx, tx, id, menu, items, req)
	})
	if err != nil {
		return nil, wireError(err)
	}
	return s.answer(ctx, id, req.WaitMs)
}

func (s *Server) place(ctx context.Context, tx sqldb.Tx, id string, menu menus.Menu, items []orderapi.OrderedItem, req *orderapi.PlaceOrderRequest) error {
	_, err := s.Orders.In(tx).Handle(ctx, id, domain.Place{
		ConsumerID: req.ConsumerId, RestaurantID: menu.RestaurantID, RestaurantName: menu.Name, LineItems: items,
		DeliveryAddress: address(req.DeliveryAddress), DeliveryTime: optionalTime(req.DeliveryTime), At: time.Now().UTC(),
	})
	if err != nil {
		return err
	}
	total, err := domain.Total(items)
	if err != nil {
		return err
	}
	_, err = s.Sagas.Create.Start(ctx, tx, id, sagas.CreateOrder{
		OrderID: id, ConsumerID: req.ConsumerId, RestaurantID: menu.RestaurantID,
		LineItems: ticketItems(items), MenuVersion: menu.Version, Total: total,
	})
	return err
}

// ReviseOrder starts the ReviseOrder saga for the order's consumer or an admin.
func (s *Server) ReviseOrder(ctx context.Context, req *orderapi.ReviseOrderRequest) (*orderapi.Order, error) {
	order, err := s.own(ctx, req.Id, req.WaitMs)
	if err != nil {
		return nil, err
	}
	menu, items, err := s.price(ctx, order.RestaurantID, req.LineItems)
	if err != nil {
		return nil, wireError(err)
	}
	err = s.DB.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		commit, err := s.Orders.In(tx).Handle(ctx, req.Id, domain.ProposeRevision{LineItems: items})
		if err != nil {
			return err
		}
		total, err := domain.Total(items)
		if err != nil {
			return err
		}
		_, err = s.Sagas.Revise.Start(ctx, tx, attempt(req.Id, commit), sagas.ReviseOrder{
			OrderID: req.Id, LineItems: ticketItems(items), MenuVersion: menu.Version, Total: total,
		})
		return err
	})
	if err != nil {
		return nil, wireError(err)
	}
	return s.answer(ctx, req.Id, req.WaitMs)
}

// CancelOrder starts the CancelOrder saga for the order's consumer or an admin.
func (s *Server) CancelOrder(ctx context.Context, req *orderapi.CancelOrderRequest) (*orderapi.Order, error) {
	if _, err := s.own(ctx, req.Id, req.WaitMs); err != nil {
		return nil, err
	}
	err := s.DB.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		orders := s.Orders.In(tx)
		before, err := orders.Load(ctx, req.Id)
		if err != nil {
			return err
		}
		commit, err := orders.Handle(ctx, req.Id, domain.RequestCancellation{})
		if err != nil || commit.Version == before.Version {
			return err // nothing new: it is cancelled, or being cancelled
		}
		_, err = s.Sagas.Cancel.Start(ctx, tx, attempt(req.Id, commit), sagas.CancelOrder{OrderID: req.Id})
		return err
	})
	if err != nil {
		return nil, wireError(err)
	}
	return s.answer(ctx, req.Id, req.WaitMs)
}

// attempt is the key of a saga that an order may see several times.
func attempt(id string, c eventsource.Commit) string { return fmt.Sprintf("%s/%d", id, c.Version) }

// GetOrder is for those who may see the order.
func (s *Server) GetOrder(ctx context.Context, req *orderapi.GetOrderRequest) (*orderapi.Order, error) {
	caller, err := auth.Require(ctx, readers...)
	if err != nil {
		return nil, err
	}
	o, err := s.Orders.Load(ctx, req.Id)
	if err != nil {
		return nil, err
	}
	if !maySee(caller, o.State) {
		return nil, wireError(&domain.StateError{})
	}
	return message(req.Id, o.State), nil
}

// BatchGet is for those who may see the orders.
func (s *Server) BatchGet(ctx context.Context, req *orderapi.BatchGetRequest) (*orderapi.BatchGetResponse, error) {
	caller, err := auth.Require(ctx, readers...)
	if err != nil {
		return nil, err
	}
	if len(req.Ids) > maxBatch {
		return nil, rpi.InvalidField("ids", fmt.Sprintf("has %d entries; at most %d are answered", len(req.Ids), maxBatch))
	}
	res := &orderapi.BatchGetResponse{}
	for _, id := range req.Ids {
		o, err := s.Orders.Load(ctx, id)
		if err != nil {
			return nil, err
		}
		if maySee(caller, o.State) {
			res.Orders = append(res.Orders, message(id, o.State))
		}
	}
	return res, nil
}

var readers = []string{"consumer", "restaurant", "courier", "admin"}

// maySee lets a consumer and a restaurant see their own orders, an admin all.
func maySee(caller auth.Principal, o domain.State) bool {
	if o.Status == "" {
		return false
	}
	return caller.Has("admin") || caller.Subject == o.ConsumerID || caller.Subject == o.RestaurantID
}

// own returns the order if the caller may change it.
func (s *Server) own(ctx context.Context, id string, waitMs int32) (domain.State, error) {
	caller, err := auth.Require(ctx, "consumer", "admin")
	if err != nil {
		return domain.State{}, err
	}
	if err := checkWait(waitMs); err != nil {
		return domain.State{}, err
	}
	o, err := s.Orders.Load(ctx, id)
	if err != nil {
		return domain.State{}, err
	}
	if o.State.Status == "" || !caller.Has("admin") && caller.Subject != o.State.ConsumerID {
		return domain.State{}, wireError(&domain.StateError{})
	}
	return o.State, nil
}

// price looks the lines up in the restaurant's menu, as new as the caller's
// consistency token asks for.
func (s *Server) price(ctx context.Context, restaurantID string, lines []*orderapi.LineItem) (menus.Menu, []orderapi.OrderedItem, error) {
	if err := s.Replicas.Wait(ctx, menus.Name, rpi.Required(ctx)); err != nil {
		return menus.Menu{}, nil, err
	}
	menu, err := s.Menus.Find(ctx, restaurantID)
	if err != nil {
		return menus.Menu{}, nil, err
	}
	wanted := make([]menus.Line, len(lines))
	for i, l := range lines {
		wanted[i] = menus.Line{MenuItemID: l.MenuItemId, Quantity: l.Quantity}
	}
	items, err := menu.Price(wanted)
	return menu, items, err
}

// answer returns the order, if it may wait, once no saga is deciding any more.
func (s *Server) answer(ctx context.Context, id string, waitMs int32) (*orderapi.Order, error) {
	waiting, cancel := context.WithTimeout(ctx, time.Duration(waitMs)*time.Millisecond)
	defer cancel()
	for {
		seen := s.DB.Committed()
		o, err := s.Orders.Load(ctx, id)
		if err != nil {
			return nil, err
		}
		if o.State.Status.Pending() && waitMs > 0 {
			if _, err := s.DB.AwaitCommit(waiting, seen); err == nil {
				continue
			}
		}
		rpi.Committed(ctx, "order", s.Epoch, o.Position)
		return message(id, o.State), nil
	}
}

func wireError(err error) error {
	var (
		field *domain.FieldError
		state *domain.StateError
	)
	switch {
	case errors.As(err, &field):
		return rpi.InvalidField(field.Field, field.Reason)
	case errors.As(err, &state) && state.Status == "":
		return connect.NewError(connect.CodeNotFound, state.Error())
	case errors.As(err, &state):
		return connect.NewError(connect.CodeFailedPrecondition, state.Error())
	default:
		return err
	}
}
