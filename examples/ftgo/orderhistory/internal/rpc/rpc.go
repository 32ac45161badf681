// Package rpc is the server adapter of the order history service: it checks who
// calls and turns messages into queries.
package rpc

import (
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
	"github.com/cleave-go/cleave/examples/ftgo/orderhistory/internal/history"
	"github.com/cleave-go/cleave/examples/ftgo/orderhistory/orderhistoryapi"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/sqldb"
)

const (
	maxBatch    = 200
	maxPage     = 100
	defaultPage = 20
	maxKeyword  = 200 // bytes
)

// Server serves orderhistoryapi.OrderHistoryService.
type Server struct {
	db    *sqldb.DB
	views *projection.Runner
}

// New returns a server of the view that views keeps in db.
func New(db *sqldb.DB, views *projection.Runner) *Server { return &Server{db: db, views: views} }

// ListOrders answers a consumer's own orders, or, to an admin, anybody's. It
// waits until the view includes what the caller's consistency token names.
func (s *Server) ListOrders(ctx context.Context, req *orderhistoryapi.ListOrdersRequest) (*orderhistoryapi.ListOrdersResponse, error) {
	caller, err := auth.Require(ctx, "consumer", "admin")
	if err != nil {
		return nil, err
	}
	query, err := parse(req)
	if err != nil {
		return nil, err
	}
	page, err := s.list(ctx, caller, query)
	if err != nil {
		return nil, err
	}
	return &orderhistoryapi.ListOrdersResponse{Orders: page.Orders, HasNextPage: page.HasNextPage, EndCursor: page.EndCursor}, nil
}

// BatchListOrders is ListOrders for several consumers.
func (s *Server) BatchListOrders(ctx context.Context, req *orderhistoryapi.BatchListOrdersRequest) (*orderhistoryapi.BatchListOrdersResponse, error) {
	caller, err := auth.Require(ctx, "consumer", "admin")
	if err != nil {
		return nil, err
	}
	if len(req.ConsumerIds) > maxBatch {
		return nil, rpi.InvalidField("consumerIds", fmt.Sprintf("has %d entries; at most %d are answered", len(req.ConsumerIds), maxBatch))
	}
	query, err := parse(&orderhistoryapi.ListOrdersRequest{First: req.First, After: req.After})
	if err != nil {
		return nil, err
	}
	res := &orderhistoryapi.BatchListOrdersResponse{}
	for _, id := range req.ConsumerIds {
		query.ConsumerID = id
		page, err := s.list(ctx, caller, query)
		if err != nil {
			return nil, err
		}
		res.Lists = append(res.Lists, page)
	}
	return res, nil
}

// list answers a page of a consumer's orders as new as the caller's consistency
// token asks for; nobody else's orders are seen.
func (s *Server) list(ctx context.Context, caller auth.Principal, query history.Query) (*orderhistoryapi.ConsumerOrders, error) {
	page := &orderhistoryapi.ConsumerOrders{ConsumerId: query.ConsumerID}
	if !caller.Has("admin") && caller.Subject != query.ConsumerID {
		return page, nil
	}
	if err := s.views.Wait(ctx, history.Name, rpi.Required(ctx)); err != nil {
		return nil, err
	}
	first := query.Limit
	query.Limit++
	found, err := history.List(ctx, s.db, query)
	if err != nil {
		return nil, err
	}
	if page.HasNextPage = len(found) > first; page.HasNextPage {
		found = found[:first]
	}
	for _, o := range found {
		page.Orders = append(page.Orders, message(o))
	}
	if len(found) > 0 {
		last := found[len(found)-1]
		page.EndCursor = formatCursor(history.Cursor{PlacedAt: last.PlacedAt.UnixNano(), ID: last.ID})
	}
	return page, nil
}

func parse(req *orderhistoryapi.ListOrdersRequest) (history.Query, error) {
	q := history.Query{ConsumerID: req.ConsumerId, Status: req.Status, Keyword: req.Keyword, Limit: int(req.First)}
	if q.Limit == 0 {
		q.Limit = defaultPage
	}
	if q.Limit < 0 || q.Limit > maxPage {
		return history.Query{}, rpi.InvalidField("first", fmt.Sprintf("is %d; a page has 1 to %d entries", req.First, maxPage))
	}
	if _, known := orderapi.OrderStatus_value[q.Status]; q.Status != "" && !known {
		return history.Query{}, rpi.InvalidField("status", fmt.Sprintf("%q is not a status of an order", q.Status))
	}
	if len(q.Keyword) > maxKeyword {
		return history.Query{}, rpi.InvalidField("keyword", fmt.Sprintf("has %d bytes; at most %d are searched for", len(q.Keyword), maxKeyword))
	}
	if req.Since != nil {
		if !req.Since.IsValid() {
			return history.Query{}, rpi.InvalidField("since", "is not a time")
		}
		q.Since = req.Since.AsTime()
	}
	var ok bool
	if q.After, ok = parseCursor(req.After); !ok {
		return history.Query{}, rpi.InvalidField("after", "is not a cursor of this list")
	}
	return q, nil
}

func formatCursor(c history.Cursor) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(c.PlacedAt, 10) + " " + c.ID))
}

func parseCursor(text string) (history.Cursor, bool) {
	if text == "" {
		return history.Cursor{}, true
	}
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return history.Cursor{}, false
	}
	at, id, found := strings.Cut(string(raw), " ")
	nanos, err := strconv.ParseInt(at, 10, 64)
	return history.Cursor{PlacedAt: nanos, ID: id}, found && id != "" && err == nil
}

func message(o history.Order) *orderhistoryapi.Order {
	a := o.DeliveryAddress
	m := &orderhistoryapi.Order{
		Id: o.ID, Status: o.Status, RejectionReason: o.RejectionReason, PlacedAt: timestamppb.New(o.PlacedAt),
		ConsumerId: o.ConsumerID, RestaurantId: o.RestaurantID, Total: money(o.Total),
		DeliveryAddress: &orderhistoryapi.Address{Street1: a.Street1, Street2: a.Street2, City: a.City, State: a.State, Zip: a.Zip},
		DeliveryTime:    timestamp(o.DeliveryTime),
	}
	for _, item := range o.LineItems {
		m.LineItems = append(m.LineItems, &orderhistoryapi.OrderLineItem{
			MenuItemId: item.MenuItemID, Name: item.Name, Price: money(item.Price), Quantity: item.Quantity,
		})
	}
	return m
}

func money(a orderapi.Amount) *orderhistoryapi.Money {
	return &orderhistoryapi.Money{Amount: a.Amount, Currency: a.Currency}
}

func timestamp(t *time.Time) *timestamppb.Timestamp {
	if t == nil {
		return nil
	}
	return timestamppb.New(*t)
}
