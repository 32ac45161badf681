// Package restaurants keeps restaurants and their menus: a row each, and an
// event for every change, written in one transaction.
package restaurants

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant/restaurantapi"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/sqldb"
)

// Restaurant is a place that cooks.
type Restaurant struct {
	Seq         int64 // ascends in order of creation
	ID          string
	Name        string
	Address     restaurantapi.PostalAddress
	Menu        []restaurantapi.PricedDish
	MenuVersion int64 // rises by one with each menu, from 1
}

var (
	// ErrUnknown says that there is no such restaurant.
	ErrUnknown = errors.New("there is no such restaurant")
	// ErrExists says that the id is taken.
	ErrExists = errors.New("this restaurant exists already")
)

// Restaurants is the table of restaurants. It is safe for concurrent use.
type Restaurants struct{ db *sqldb.DB }

// New returns the restaurants in db.
func New(db *sqldb.DB) *Restaurants { return &Restaurants{db: db} }

// Create adds r with the first version of its menu. It returns a *FieldError, or ErrExists.
func (rs *Restaurants) Create(ctx context.Context, r Restaurant) (Restaurant, eventsource.Commit, error) {
	r.MenuVersion = 1
	if err := check(r); err != nil {
		return Restaurant{}, eventsource.Commit{}, err
	}
	address, err := json.Marshal(r.Address)
	if err != nil {
		return Restaurant{}, eventsource.Commit{}, err
	}
	menu, err := json.Marshal(r.Menu)
	if err != nil {
		return Restaurant{}, eventsource.Commit{}, err
	}
	var commit eventsource.Commit
	err = rs.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		result, err := tx.ExecContext(ctx, `INSERT INTO restaurant (id, name, address, menu, menu_version, search)
			VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, r.ID, r.Name, string(address), string(menu), r.MenuVersion, searchText(r))
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrExists)
		}
		commit, err = record(ctx, tx, r.ID, restaurantapi.Created{Name: r.Name, Address: r.Address, Menu: r.Menu, MenuVersion: r.MenuVersion})
		return err
	})
	return r, commit, err
}

// ReviseMenu replaces the menu. It returns a *FieldError, or ErrUnknown.
func (rs *Restaurants) ReviseMenu(ctx context.Context, id string, menu []restaurantapi.PricedDish) (Restaurant, eventsource.Commit, error) {
	if err := checkMenu("items", menu); err != nil {
		return Restaurant{}, eventsource.Commit{}, err
	}
	text, err := json.Marshal(menu)
	if err != nil {
		return Restaurant{}, eventsource.Commit{}, err
	}
	var (
		r      Restaurant
		commit eventsource.Commit
	)
	err = rs.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		var err error
		r, err = scan(tx.QueryRowContext(ctx, selectRestaurant+` WHERE id = ?`, id))
		if errors.Is(err, sql.ErrNoRows) {
			return ErrUnknown
		}
		if err != nil {
			return err
		}
		r.Menu, r.MenuVersion = menu, r.MenuVersion+1
		if _, err := tx.ExecContext(ctx, `UPDATE restaurant SET menu = ?, menu_version = ?, search = ? WHERE id = ?`,
			string(text), r.MenuVersion, searchText(r), id); err != nil {
			return err
		}
		commit, err = record(ctx, tx, id, restaurantapi.MenuRevised{Menu: menu, MenuVersion: r.MenuVersion})
		return err
	})
	return r, commit, err
}

// BatchGet returns the restaurants among ids that exist.
func (rs *Restaurants) BatchGet(ctx context.Context, ids []string) ([]Restaurant, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	return rs.list(ctx, selectRestaurant+` WHERE id IN (?`+strings.Repeat(", ?", len(ids)-1)+`)`, args...)
}

// List returns up to limit restaurants created before the one whose Seq is
// before (0: all), newest first, of those whose name or menu contains search.
func (rs *Restaurants) List(ctx context.Context, search string, before int64, limit int) ([]Restaurant, error) {
	return rs.list(ctx, selectRestaurant+`
		WHERE (CAST(?1 AS bigint) = 0 OR seq < ?1) AND (?2 = '' OR replace(search, ?2, '') <> search)
		ORDER BY seq DESC LIMIT ?3`, before, strings.ToLower(search), limit)
}

const selectRestaurant = `SELECT seq, id, name, address, menu, menu_version FROM restaurant`

func (rs *Restaurants) list(ctx context.Context, query string, args ...any) ([]Restaurant, error) {
	rows, err := rs.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []Restaurant
	for rows.Next() {
		r, err := scan(rows)
		if err != nil {
			return nil, err
		}
		found = append(found, r)
	}
	return found, rows.Err()
}

func scan(row interface{ Scan(...any) error }) (Restaurant, error) {
	var (
		r             Restaurant
		address, menu string
	)
	if err := row.Scan(&r.Seq, &r.ID, &r.Name, &address, &menu, &r.MenuVersion); err != nil {
		return Restaurant{}, err
	}
	return r, errors.Join(json.Unmarshal([]byte(address), &r.Address), json.Unmarshal([]byte(menu), &r.Menu))
}

func record(ctx context.Context, tx sqldb.Tx, id string, e restaurantapi.Event) (eventsource.Commit, error) {
	r, err := restaurantapi.Codec.Encode(e)
	if err != nil {
		return eventsource.Commit{}, err
	}
	return outbox.Add(ctx, tx, event.Stream{Category: restaurantapi.Category, ID: id}, r)
}

func searchText(r Restaurant) string {
	lines := []string{r.Name}
	for _, dish := range r.Menu {
		lines = append(lines, dish.Name)
	}
	return strings.ToLower(strings.Join(lines, "\n"))
}
