// Package menus is the order service's replica of restaurants' menus, kept by
// their events. A menu that is not here yet is fetched from its owner.
package menus

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"connectrpc.com/connect/v2"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/examples/ftgo/order/internal/domain"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant/restaurantapi"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/sqldb"
)

// Name is the name of the projection.
const Name = "menus"

// Menu is what a restaurant offers.
type Menu struct {
	RestaurantID string
	Name         string // of the restaurant
	Version      int64
	Items        []restaurantapi.PricedDish
}

// Line asks for a number of one thing.
type Line struct {
	MenuItemID string
	Quantity   int32
}

// Price looks lines up in the menu. It returns a *domain.FieldError for what is
// not on it.
func (m Menu) Price(lines []Line) ([]orderapi.OrderedItem, error) {
	dishes := make(map[string]restaurantapi.PricedDish, len(m.Items))
	for _, d := range m.Items {
		dishes[d.ID] = d
	}
	items := make([]orderapi.OrderedItem, len(lines))
	for i, l := range lines {
		d, ok := dishes[l.MenuItemID]
		if !ok {
			return nil, &domain.FieldError{
				Field:  fmt.Sprintf("lineItems[%d].menuItemId", i),
				Reason: fmt.Sprintf("%q is not on the menu of %s", l.MenuItemID, m.Name),
			}
		}
		items[i] = orderapi.OrderedItem{
			MenuItemID: d.ID, Name: d.Name, Quantity: l.Quantity,
			Price: orderapi.Amount{Amount: d.Price, Currency: d.Currency},
		}
	}
	return items, nil
}

// Menus is the replica. It is safe for concurrent use.
type Menus struct {
	db    *sqldb.DB
	owner restaurantapi.RestaurantServiceClient
}

// New returns the replica in db of what owner owns.
func New(db *sqldb.DB, owner restaurantapi.RestaurantServiceClient) *Menus {
	return &Menus{db: db, owner: owner}
}

// Projection keeps the replica.
func (ms *Menus) Projection() projection.Projection {
	return projection.Projection{
		Name: Name, Version: 1, Sources: []string{"restaurant"},
		Apply: projection.On(restaurantapi.Codec, apply),
	}
}

func apply(ctx context.Context, tx sqldb.Tx, e event.Envelope[restaurantapi.Event]) error {
	switch data := e.Data.(type) {
	case restaurantapi.Created:
		return put(ctx, tx, Menu{RestaurantID: e.Stream.ID, Name: data.Name, Version: data.MenuVersion, Items: data.Menu})
	case restaurantapi.MenuRevised:
		items, err := json.Marshal(data.Menu)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `UPDATE menu SET version = ?1, items = ?2 WHERE restaurant_id = ?3 AND version < ?1`,
			data.MenuVersion, string(items), e.Stream.ID)
		return err
	}
	return nil
}

// Find returns the restaurant's menu. It returns a *domain.FieldError when
// there is no such restaurant, and the owner's error when it cannot be asked.
func (ms *Menus) Find(ctx context.Context, restaurantID string) (Menu, error) {
	m := Menu{RestaurantID: restaurantID}
	var items string
	err := ms.db.QueryRowContext(ctx, `SELECT name, version, items FROM menu WHERE restaurant_id = ?`, restaurantID).Scan(&m.Name, &m.Version, &items)
	if errors.Is(err, sql.ErrNoRows) {
		return ms.fetch(ctx, restaurantID)
	}
	if err != nil {
		return Menu{}, err
	}
	return m, json.Unmarshal([]byte(items), &m.Items)
}

// fetch asks the owner: the restaurant may be newer than the events that came.
func (ms *Menus) fetch(ctx context.Context, restaurantID string) (Menu, error) {
	r, err := ms.owner.GetRestaurant(ctx, &restaurantapi.GetRestaurantRequest{Id: restaurantID})
	if connect.CodeOf(err) == connect.CodeNotFound {
		return Menu{}, &domain.FieldError{Field: "restaurantId", Reason: fmt.Sprintf("there is no restaurant %q", restaurantID)}
	}
	if err != nil {
		return Menu{}, err
	}
	m := Menu{RestaurantID: r.Id, Name: r.Name, Version: r.MenuVersion}
	for _, item := range r.Menu {
		m.Items = append(m.Items, restaurantapi.PricedDish{ID: item.Id, Name: item.Name, Price: item.GetPrice().GetAmount(), Currency: item.GetPrice().GetCurrency()})
	}
	return m, ms.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error { return put(ctx, tx, m) })
}

// put keeps m unless a newer version is there.
func put(ctx context.Context, tx sqldb.Tx, m Menu) error {
	items, err := json.Marshal(m.Items)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO menu (restaurant_id, name, version, items) VALUES (?, ?, ?, ?)
		ON CONFLICT (restaurant_id) DO UPDATE SET name = excluded.name, version = excluded.version, items = excluded.items
		WHERE excluded.version > menu.version`, m.RestaurantID, m.Name, m.Version, string(items))
	return err
}
