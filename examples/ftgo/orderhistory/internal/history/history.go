// Package history is the view of consumers' orders, kept by the order service's events.
package history

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/sqldb"
)

// Name is the name of the projection.
const Name = "history"

// Order is the view of an order.
type Order struct {
	ID              string
	ConsumerID      string
	RestaurantID    string
	Status          string // the name of an orderapi.OrderStatus
	RejectionReason string
	PlacedAt        time.Time
	LineItems       []orderapi.OrderedItem
	Total           orderapi.Amount
	DeliveryAddress orderapi.PostalAddress
	DeliveryTime    *time.Time
}

// Projection keeps the view.
func Projection() projection.Projection {
	return projection.Projection{Name: Name, Version: 1, Sources: []string{"order"}, Apply: projection.On(orderapi.Codec, apply)}
}

func apply(ctx context.Context, tx sqldb.Tx, e event.Envelope[orderapi.Event]) error {
	id := e.Stream.ID
	switch data := e.Data.(type) {
	case orderapi.Placed:
		return insert(ctx, tx, id, data)
	case orderapi.Approved, orderapi.CancellationRefused, orderapi.RevisionRefused:
		return setStatus(ctx, tx, id, orderapi.OrderStatus_APPROVED)
	case orderapi.Rejected:
		_, err := tx.ExecContext(ctx, `UPDATE history SET status = ?, rejection_reason = ? WHERE id = ?`, orderapi.OrderStatus_REJECTED.String(), data.Reason, id)
		return err
	case orderapi.CancellationRequested:
		return setStatus(ctx, tx, id, orderapi.OrderStatus_CANCEL_PENDING)
	case orderapi.Cancelled:
		return setStatus(ctx, tx, id, orderapi.OrderStatus_CANCELLED)
	case orderapi.RevisionProposed:
		return setStatus(ctx, tx, id, orderapi.OrderStatus_REVISION_PENDING)
	case orderapi.Revised:
		return revise(ctx, tx, id, data)
	}
	return nil
}

func insert(ctx context.Context, tx sqldb.Tx, id string, e orderapi.Placed) error {
	items, err := json.Marshal(e.LineItems)
	if err != nil {
		return err
	}
	total, err := json.Marshal(e.Total)
	if err != nil {
		return err
	}
	address, err := json.Marshal(e.DeliveryAddress)
	if err != nil {
		return err
	}
	var deliveryTime sql.NullInt64
	if e.DeliveryTime != nil {
		deliveryTime = sql.NullInt64{Int64: e.DeliveryTime.UnixNano(), Valid: true}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO history
		(id, consumer_id, restaurant_id, status, placed_at, line_items, total, delivery_address, delivery_time, restaurant_name, search)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id, e.ConsumerID, e.RestaurantID, orderapi.OrderStatus_APPROVAL_PENDING.String(), e.PlacedAt.UnixNano(),
		string(items), string(total), string(address), deliveryTime, e.RestaurantName, searchText(e.RestaurantName, e.LineItems))
	return err
}

func setStatus(ctx context.Context, tx sqldb.Tx, id string, s orderapi.OrderStatus) error {
	_, err := tx.ExecContext(ctx, `UPDATE history SET status = ? WHERE id = ?`, s.String(), id)
	return err
}

func revise(ctx context.Context, tx sqldb.Tx, id string, e orderapi.Revised) error {
	items, err := json.Marshal(e.LineItems)
	if err != nil {
		return err
	}
	total, err := json.Marshal(e.Total)
	if err != nil {
		return err
	}
	var restaurant string
	if err := tx.QueryRowContext(ctx, `SELECT restaurant_name FROM history WHERE id = ?`, id).Scan(&restaurant); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE history SET status = ?, line_items = ?, total = ?, search = ? WHERE id = ?`,
		orderapi.OrderStatus_APPROVED.String(), string(items), string(total), searchText(restaurant, e.LineItems), id)
	return err
}

func searchText(restaurant string, items []orderapi.OrderedItem) string {
	lines := []string{restaurant}
	for _, item := range items {
		lines = append(lines, item.Name)
	}
	return strings.ToLower(strings.Join(lines, "\n"))
}

// Cursor is the place of an order in a consumer's list. The zero Cursor is
// before the newest.
type Cursor struct {
	PlacedAt int64 // nanoseconds since 1970
	ID       string
}

// Query says which of a consumer's orders are wanted.
type Query struct {
	ConsumerID string
	Status     string // empty: any
	Keyword    string // empty: any
	Since      time.Time
	After      Cursor
	Limit      int
}

// List returns orders, newest first.
func List(ctx context.Context, db *sqldb.DB, q Query) ([]Order, error) {
	var since int64
	if !q.Since.IsZero() {
		since = q.Since.UnixNano()
	}
	rows, err := db.QueryContext(ctx, `SELECT id, consumer_id, restaurant_id, status, rejection_reason, placed_at, line_items, total, delivery_address, delivery_time
		FROM history WHERE consumer_id = ?1 AND (?2 = '' OR status = ?2) AND (?3 = '' OR replace(search, ?3, '') <> search) AND placed_at >= ?4
		AND (?6 = '' OR (placed_at, id) < (?5, ?6))
		ORDER BY placed_at DESC, id DESC LIMIT ?7`,
		q.ConsumerID, q.Status, strings.ToLower(q.Keyword), since, q.After.PlacedAt, q.After.ID, q.Limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []Order
	for rows.Next() {
		o, err := scan(rows)
		if err != nil {
			return nil, err
		}
		found = append(found, o)
	}
	return found, rows.Err()
}

func scan(rows *sql.Rows) (Order, error) {
	var (
		o                     Order
		placedAt              int64
		deliveryTime          sql.NullInt64
		items, total, address string
	)
	if err := rows.Scan(&o.ID, &o.ConsumerID, &o.RestaurantID, &o.Status, &o.RejectionReason, &placedAt, &items, &total, &address, &deliveryTime); err != nil {
		return Order{}, err
	}
	o.PlacedAt = time.Unix(0, placedAt).UTC()
	if deliveryTime.Valid {
		t := time.Unix(0, deliveryTime.Int64).UTC()
		o.DeliveryTime = &t
	}
	return o, errors.Join(
		json.Unmarshal([]byte(items), &o.LineItems),
		json.Unmarshal([]byte(total), &o.Total),
		json.Unmarshal([]byte(address), &o.DeliveryAddress))
}
