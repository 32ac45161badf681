// Package rpc is the server adapter of the restaurant service: it checks who
// calls and turns messages into calls and errors into codes.
package rpc

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"connectrpc.com/connect/v2"
	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant/internal/restaurants"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant/restaurantapi"
	"github.com/cleave-go/cleave/rpi"
)

const (
	maxBatch    = 200
	maxPage     = 100
	defaultPage = 20
)

// Server serves restaurantapi.RestaurantService.
type Server struct {
	restaurants *restaurants.Restaurants
	epoch       string
}

// New returns a server of rs, whose events are of epoch.
func New(rs *restaurants.Restaurants, epoch string) *Server {
	return &Server{restaurants: rs, epoch: epoch}
}

// CreateRestaurant creates the caller's restaurant, or, for an admin, another.
func (s *Server) CreateRestaurant(ctx context.Context, req *restaurantapi.CreateRestaurantRequest) (*restaurantapi.Restaurant, error) {
	caller, err := auth.Require(ctx, "restaurant", "admin")
	if err != nil {
		return nil, err
	}
	id := caller.Subject
	if caller.Has("admin") {
		id = event.NewID().String()
	}
	r, commit, err := s.restaurants.Create(ctx, restaurants.Restaurant{ID: id, Name: req.Name, Address: address(req.Address), Menu: menu(req.Menu)})
	if err != nil {
		return nil, wireError(err)
	}
	s.committed(ctx, commit)
	return message(r), nil
}

// ReviseMenu replaces the caller's own menu, or, for an admin, anybody's.
func (s *Server) ReviseMenu(ctx context.Context, req *restaurantapi.ReviseMenuRequest) (*restaurantapi.Restaurant, error) {
	caller, err := auth.Require(ctx, "restaurant", "admin")
	if err != nil {
		return nil, err
	}
	if !caller.Has("admin") && caller.Subject != req.RestaurantId {
		return nil, wireError(restaurants.ErrUnknown)
	}
	r, commit, err := s.restaurants.ReviseMenu(ctx, req.RestaurantId, menu(req.Menu))
	if err != nil {
		return nil, wireError(err)
	}
	s.committed(ctx, commit)
	return message(r), nil
}

// GetRestaurant is public.
func (s *Server) GetRestaurant(ctx context.Context, req *restaurantapi.GetRestaurantRequest) (*restaurantapi.Restaurant, error) {
	found, err := s.restaurants.BatchGet(ctx, []string{req.Id})
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, wireError(restaurants.ErrUnknown)
	}
	return message(found[0]), nil
}

// BatchGet is public.
func (s *Server) BatchGet(ctx context.Context, req *restaurantapi.BatchGetRequest) (*restaurantapi.BatchGetResponse, error) {
	if len(req.Ids) > maxBatch {
		return nil, rpi.InvalidField("ids", fmt.Sprintf("has %d entries; at most %d are answered", len(req.Ids), maxBatch))
	}
	found, err := s.restaurants.BatchGet(ctx, req.Ids)
	if err != nil {
		return nil, err
	}
	return &restaurantapi.BatchGetResponse{Restaurants: messages(found)}, nil
}

// ListRestaurants is public.
func (s *Server) ListRestaurants(ctx context.Context, req *restaurantapi.ListRestaurantsRequest) (*restaurantapi.ListRestaurantsResponse, error) {
	first := int(req.First)
	if first == 0 {
		first = defaultPage
	}
	if first < 0 || first > maxPage {
		return nil, rpi.InvalidField("first", fmt.Sprintf("is %d; a page has 1 to %d entries", first, maxPage))
	}
	if len(req.Search) > restaurants.MaxText {
		return nil, rpi.InvalidField("search", fmt.Sprintf("has %d bytes; at most %d are searched for", len(req.Search), restaurants.MaxText))
	}
	before, err := parseCursor(req.After)
	if err != nil {
		return nil, rpi.InvalidField("after", "is not a cursor of this list")
	}
	found, err := s.restaurants.List(ctx, req.Search, before, first+1)
	if err != nil {
		return nil, err
	}
	res := &restaurantapi.ListRestaurantsResponse{HasNextPage: len(found) > first}
	if res.HasNextPage {
		found = found[:first]
	}
	if len(found) > 0 {
		res.EndCursor = strconv.FormatInt(found[len(found)-1].Seq, 10)
	}
	res.Restaurants = messages(found)
	return res, nil
}

func (s *Server) committed(ctx context.Context, c eventsource.Commit) {
	rpi.Committed(ctx, "restaurant", s.epoch, c.Position)
}

// parseCursor reads the Seq of the last restaurant of the page before.
func parseCursor(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	seq, err := strconv.ParseInt(text, 10, 64)
	if err == nil && seq < 1 {
		err = strconv.ErrRange
	}
	return seq, err
}

func wireError(err error) error {
	var field *restaurants.FieldError
	switch {
	case errors.As(err, &field):
		return rpi.InvalidField(field.Field, field.Reason)
	case errors.Is(err, restaurants.ErrUnknown):
		return connect.NewError(connect.CodeNotFound, restaurants.ErrUnknown.Error())
	case errors.Is(err, restaurants.ErrExists):
		return connect.NewError(connect.CodeAlreadyExists, restaurants.ErrExists.Error())
	default:
		return err
	}
}

func address(a *restaurantapi.Address) restaurantapi.PostalAddress {
	return restaurantapi.PostalAddress{Street1: a.GetStreet1(), Street2: a.GetStreet2(), City: a.GetCity(), State: a.GetState(), Zip: a.GetZip()}
}

func menu(items []*restaurantapi.MenuItem) []restaurantapi.PricedDish {
	dishes := make([]restaurantapi.PricedDish, len(items))
	for i, item := range items {
		dishes[i] = restaurantapi.PricedDish{ID: item.GetId(), Name: item.GetName(), Price: item.GetPrice().GetAmount(), Currency: item.GetPrice().GetCurrency()}
	}
	return dishes
}

func messages(rs []restaurants.Restaurant) []*restaurantapi.Restaurant {
	list := make([]*restaurantapi.Restaurant, len(rs))
	for i, r := range rs {
		list[i] = message(r)
	}
	return list
}

func message(r restaurants.Restaurant) *restaurantapi.Restaurant {
	a := r.Address
	m := &restaurantapi.Restaurant{
		Id: r.ID, Name: r.Name, MenuVersion: r.MenuVersion,
		Address: &restaurantapi.Address{Street1: a.Street1, Street2: a.Street2, City: a.City, State: a.State, Zip: a.Zip},
	}
	for _, d := range r.Menu {
		m.Menu = append(m.Menu, &restaurantapi.MenuItem{Id: d.ID, Name: d.Name, Price: &restaurantapi.Money{Amount: d.Price, Currency: d.Currency}})
	}
	return m
}
