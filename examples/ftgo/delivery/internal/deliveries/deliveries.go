// Package deliveries keeps couriers and what they carry: a row each, and an
// event for every change of a delivery, written in one transaction.
//
//	stateDiagram-v2
//	    [*] --> PENDING: ticket created
//	    PENDING --> SCHEDULED: ticket accepted, and a courier is available
//	    SCHEDULED --> PICKED_UP: the food is ready and picked up
//	    PICKED_UP --> DELIVERED: dropped off
//	    PENDING --> CANCELLED: ticket cancelled
//	    SCHEDULED --> CANCELLED: ticket cancelled
//
// A delivery goes to the available courier with the fewest under way. While
// nobody is available it waits; the courier who becomes available next takes
// all that wait, in their order.
package deliveries

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/examples/ftgo/delivery/deliveryapi"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/sqldb"
)

// Status is where a delivery stands. Its text is the name of the public DeliveryStatus.
type Status string

// The statuses; see the package comment for the ways between them.
const (
	Pending   Status = "PENDING"
	Scheduled Status = "SCHEDULED"
	PickedUp  Status = "PICKED_UP"
	Delivered Status = "DELIVERED"
	Cancelled Status = "CANCELLED"
)

// Delivery is the way of an order from the restaurant to the consumer.
type Delivery struct {
	OrderID          string
	ConsumerID       string
	RestaurantID     string
	Status           Status
	CourierID        string // empty: none yet
	CourierAvailable bool
	Ready            bool       // the food is
	PickUpTime       *time.Time // promised, then actual
	DeliveryTime     *time.Time // actual
}

var (
	// ErrUnknown says that there is no such delivery, or not for this courier.
	ErrUnknown = errors.New("there is no delivery of this order")
	// ErrNotReady says that the restaurant has not finished.
	ErrNotReady = errors.New("the order is not ready to be picked up")
)

// StateError says that a delivery's status does not allow what was asked.
type StateError struct {
	Status Status
	Asked  string
}

func (e *StateError) Error() string {
	return fmt.Sprintf("a delivery that is %s cannot be %s", e.Status, e.Asked)
}

// Create adds a pending delivery; again, it does nothing.
func Create(ctx context.Context, tx sqldb.Tx, d Delivery) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO delivery (order_id, consumer_id, restaurant_id, status) VALUES (?, ?, ?, ?)
		ON CONFLICT DO NOTHING`, d.OrderID, d.ConsumerID, d.RestaurantID, string(Pending))
	return err
}

// Accept notes when the food will be ready and schedules the delivery if a
// courier is available.
func Accept(ctx context.Context, tx sqldb.Tx, orderID string, readyBy time.Time) error {
	if _, err := tx.ExecContext(ctx, `UPDATE delivery SET pick_up_time = ? WHERE order_id = ? AND status = ?`,
		formatTime(readyBy), orderID, string(Pending)); err != nil {
		return err
	}
	var courier string
	err := tx.QueryRowContext(ctx, `SELECT c.id FROM courier c
		LEFT JOIN delivery d ON d.courier_id = c.id AND d.status IN ('SCHEDULED', 'PICKED_UP')
		WHERE c.available GROUP BY c.id ORDER BY count(d.order_id), c.id LIMIT 1`).Scan(&courier)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // it waits
	}
	if err != nil {
		return err
	}
	return schedule(ctx, tx, orderID, courier, readyBy)
}

// Ready notes that the food can be picked up.
func Ready(ctx context.Context, tx sqldb.Tx, orderID string) error {
	_, err := tx.ExecContext(ctx, `UPDATE delivery SET ready = TRUE WHERE order_id = ?`, orderID)
	return err
}

// Cancel calls the courier off.
func Cancel(ctx context.Context, tx sqldb.Tx, orderID string) error {
	result, err := tx.ExecContext(ctx, `UPDATE delivery SET status = 'CANCELLED' WHERE order_id = ? AND status IN ('PENDING', 'SCHEDULED')`, orderID)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err
	}
	_, err = record(ctx, tx, orderID, deliveryapi.Cancelled{})
	return err
}

// SetAvailable says whether a courier takes deliveries; one who does takes all
// that wait.
func SetAvailable(ctx context.Context, tx sqldb.Tx, courierID string, available bool) error {
	if _, err := tx.ExecContext(ctx, `INSERT INTO courier (id, available) VALUES (?, ?)
		ON CONFLICT (id) DO UPDATE SET available = excluded.available`, courierID, available); err != nil {
		return err
	}
	if !available {
		return nil
	}
	waiting, err := list(ctx, tx, selectDelivery+` WHERE d.status = 'PENDING' AND d.pick_up_time IS NOT NULL ORDER BY d.seq`)
	if err != nil {
		return err
	}
	for _, d := range waiting {
		if err := schedule(ctx, tx, d.OrderID, courierID, *d.PickUpTime); err != nil {
			return err
		}
	}
	return nil
}

func schedule(ctx context.Context, tx sqldb.Tx, orderID, courierID string, pickUp time.Time) error {
	result, err := tx.ExecContext(ctx, `UPDATE delivery SET status = 'SCHEDULED', courier_id = ? WHERE order_id = ? AND status = 'PENDING'`, courierID, orderID)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err
	}
	_, err = record(ctx, tx, orderID, deliveryapi.Scheduled{CourierID: courierID, PickUpTime: pickUp})
	return err
}

// RecordPickUp hands the food to its courier. mayCarry tells whether the caller
// is that courier. It returns ErrUnknown, ErrNotReady or a *StateError.
func RecordPickUp(ctx context.Context, tx sqldb.Tx, orderID string, mayCarry func(courierID string) bool, now time.Time) (Delivery, eventsource.Commit, error) {
	return carry(ctx, tx, orderID, mayCarry, func(d *Delivery) (deliveryapi.Event, error) {
		switch {
		case d.Status == PickedUp:
			return nil, nil
		case d.Status != Scheduled:
			return nil, &StateError{Status: d.Status, Asked: "picked up"}
		case !d.Ready:
			return nil, ErrNotReady
		}
		d.Status, d.PickUpTime = PickedUp, &now
		return deliveryapi.PickedUp{CourierID: d.CourierID}, nil
	})
}

// RecordDropOff ends the delivery. It returns ErrUnknown or a *StateError.
func RecordDropOff(ctx context.Context, tx sqldb.Tx, orderID string, mayCarry func(courierID string) bool, now time.Time) (Delivery, eventsource.Commit, error) {
	return carry(ctx, tx, orderID, mayCarry, func(d *Delivery) (deliveryapi.Event, error) {
		switch d.Status {
		case Delivered:
			return nil, nil
		case PickedUp:
			d.Status, d.DeliveryTime = Delivered, &now
			return deliveryapi.Delivered{CourierID: d.CourierID}, nil
		default:
			return nil, &StateError{Status: d.Status, Asked: "delivered"}
		}
	})
}

// carry lets the courier of a delivery take a step that may bring an event.
func carry(ctx context.Context, tx sqldb.Tx, orderID string, mayCarry func(string) bool, step func(*Delivery) (deliveryapi.Event, error)) (Delivery, eventsource.Commit, error) {
	found, err := list(ctx, tx, selectDelivery+` WHERE d.order_id = ?`, orderID)
	if err != nil {
		return Delivery{}, eventsource.Commit{}, err
	}
	if len(found) == 0 || !mayCarry(found[0].CourierID) {
		return Delivery{}, eventsource.Commit{}, ErrUnknown
	}
	d := found[0]
	e, err := step(&d)
	if err != nil || e == nil {
		return d, eventsource.Commit{}, err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE delivery SET status = ?, pick_up_time = ?, delivery_time = ? WHERE order_id = ?`,
		string(d.Status), optionalTime(d.PickUpTime), optionalTime(d.DeliveryTime), orderID); err != nil {
		return Delivery{}, eventsource.Commit{}, err
	}
	commit, err := record(ctx, tx, orderID, e)
	return d, commit, err
}

// BatchGet returns the deliveries of those orders that have one.
func BatchGet(ctx context.Context, db *sqldb.DB, orderIDs []string) ([]Delivery, error) {
	if len(orderIDs) == 0 {
		return nil, nil
	}
	args := make([]any, len(orderIDs))
	for i, id := range orderIDs {
		args[i] = id
	}
	return list(ctx, db, selectDelivery+` WHERE d.order_id IN (?`+strings.Repeat(", ?", len(orderIDs)-1)+`)`, args...)
}

const selectDelivery = `SELECT d.order_id, d.consumer_id, d.restaurant_id, d.status, d.courier_id, coalesce(c.available, FALSE), d.ready, d.pick_up_time, d.delivery_time
	FROM delivery d LEFT JOIN courier c ON c.id = d.courier_id`

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func list(ctx context.Context, q querier, query string, args ...any) ([]Delivery, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []Delivery
	for rows.Next() {
		var (
			d                 Delivery
			pickUp, delivered sql.NullString
		)
		if err := rows.Scan(&d.OrderID, &d.ConsumerID, &d.RestaurantID, &d.Status, &d.CourierID, &d.CourierAvailable, &d.Ready, &pickUp, &delivered); err != nil {
			return nil, err
		}
		if d.PickUpTime, err = parseTime(pickUp); err != nil {
			return nil, err
		}
		if d.DeliveryTime, err = parseTime(delivered); err != nil {
			return nil, err
		}
		found = append(found, d)
	}
	return found, rows.Err()
}

func record(ctx context.Context, tx sqldb.Tx, orderID string, e deliveryapi.Event) (eventsource.Commit, error) {
	r, err := deliveryapi.Codec.Encode(e)
	if err != nil {
		return eventsource.Commit{}, err
	}
	return outbox.Add(ctx, tx, event.Stream{Category: deliveryapi.Category, ID: orderID}, r)
}

func formatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func optionalTime(t *time.Time) sql.NullString {
	if t == nil {
		return sql.NullString{}
	}
	return sql.NullString{String: formatTime(*t), Valid: true}
}

func parseTime(s sql.NullString) (*time.Time, error) {
	if !s.Valid {
		return nil, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s.String)
	return &t, err
}
