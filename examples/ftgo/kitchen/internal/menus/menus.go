// Package menus is the kitchen's replica of what restaurants offer, kept by
// their events.
package menus

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"slices"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant/restaurantapi"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/sqldb"
)

// ErrNotYet says that the events of a restaurant have not come so far.
var ErrNotYet = errors.New("the menu is not known here yet")

// Projection keeps the replica.
func Projection() projection.Projection {
	return projection.Projection{
		Name: "menus", Version: 1, Sources: []string{"restaurant"},
		Apply: projection.On(restaurantapi.Codec, apply),
	}
}

func apply(ctx context.Context, tx sqldb.Tx, e event.Envelope[restaurantapi.Event]) error {
	switch data := e.Data.(type) {
	case restaurantapi.Created:
		return put(ctx, tx, e.Stream.ID, data.MenuVersion, data.Menu)
	case restaurantapi.MenuRevised:
		return put(ctx, tx, e.Stream.ID, data.MenuVersion, data.Menu)
	}
	return nil
}

func put(ctx context.Context, tx sqldb.Tx, restaurantID string, version int64, menu []restaurantapi.PricedDish) error {
	ids := make([]string, len(menu))
	for i, dish := range menu {
		ids[i] = dish.ID
	}
	text, err := json.Marshal(ids)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO menu (restaurant_id, version, item_ids) VALUES (?, ?, ?)
		ON CONFLICT (restaurant_id) DO UPDATE SET version = excluded.version, item_ids = excluded.item_ids`, restaurantID, version, string(text))
	return err
}

// Missing returns which of the items are not on the restaurant's menu. It
// returns ErrNotYet while the menu known here is older than version.
func Missing(ctx context.Context, tx sqldb.Tx, restaurantID string, version int64, itemIDs []string) ([]string, error) {
	var (
		known int64
		text  string
	)
	err := tx.QueryRowContext(ctx, `SELECT version, item_ids FROM menu WHERE restaurant_id = ?`, restaurantID).Scan(&known, &text)
	if errors.Is(err, sql.ErrNoRows) || err == nil && known < version {
		return nil, ErrNotYet
	}
	if err != nil {
		return nil, err
	}
	var offered []string
	if err := json.Unmarshal([]byte(text), &offered); err != nil {
		return nil, err
	}
	var missing []string
	for _, id := range itemIDs {
		if !slices.Contains(offered, id) {
			missing = append(missing, id)
		}
	}
	return missing, nil
}
