package tickets

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/kitchenapi"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/sqldb"
)

// ErrUnknown says that there is no such ticket.
var ErrUnknown = errors.New("there is no ticket for this order")

// Create adds a pending ticket; again, it does nothing.
func Create(ctx context.Context, tx sqldb.Tx, t Ticket) error {
	t.Status = CreatePending
	items, err := json.Marshal(t.Items)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO ticket (order_id, restaurant_id, consumer_id, status, before, items, proposed)
		VALUES (?, ?, ?, ?, '', ?, 'null') ON CONFLICT DO NOTHING`, t.OrderID, t.RestaurantID, t.ConsumerID, string(t.Status), string(items))
	return err
}

// CancelCreate removes a pending ticket; without one it does nothing.
func CancelCreate(ctx context.Context, tx sqldb.Tx, orderID string) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM ticket WHERE order_id = ? AND status = ?`, orderID, string(CreatePending))
	return err
}

// Change applies f to the ticket of an order and records the events it returns.
// It returns ErrUnknown, or what f returns.
func Change(ctx context.Context, tx sqldb.Tx, orderID string, f func(*Ticket) ([]kitchenapi.Event, error)) (Ticket, eventsource.Commit, error) {
	t, err := scan(tx.QueryRowContext(ctx, selectTicket+` WHERE order_id = ?`, orderID))
	if errors.Is(err, sql.ErrNoRows) {
		return Ticket{}, eventsource.Commit{}, ErrUnknown
	}
	if err != nil {
		return Ticket{}, eventsource.Commit{}, err
	}
	events, err := f(&t)
	if err != nil {
		return Ticket{}, eventsource.Commit{}, err
	}
	if err := save(ctx, tx, t); err != nil {
		return Ticket{}, eventsource.Commit{}, err
	}
	commit, err := record(ctx, tx, t.OrderID, events)
	return t, commit, err
}

// BatchGet returns the tickets of those orders that have one.
func BatchGet(ctx context.Context, db *sqldb.DB, orderIDs []string) ([]Ticket, error) {
	if len(orderIDs) == 0 {
		return nil, nil
	}
	args := make([]any, len(orderIDs))
	for i, id := range orderIDs {
		args[i] = id
	}
	rows, err := db.QueryContext(ctx, selectTicket+` WHERE order_id IN (?`+strings.Repeat(", ?", len(orderIDs)-1)+`)`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []Ticket
	for rows.Next() {
		t, err := scan(rows)
		if err != nil {
			return nil, err
		}
		found = append(found, t)
	}
	return found, rows.Err()
}

const selectTicket = `SELECT order_id, restaurant_id, consumer_id, status, before, items, proposed, ready_by, accepted_at FROM ticket`

func scan(row interface{ Scan(...any) error }) (Ticket, error) {
	var (
		t                   Ticket
		items, proposed     string
		readyBy, acceptedAt sql.NullString
	)
	if err := row.Scan(&t.OrderID, &t.RestaurantID, &t.ConsumerID, &t.Status, &t.Before, &items, &proposed, &readyBy, &acceptedAt); err != nil {
		return Ticket{}, err
	}
	err := errors.Join(json.Unmarshal([]byte(items), &t.Items), json.Unmarshal([]byte(proposed), &t.Proposed))
	t.ReadyBy, err = parseTime(readyBy, err)
	t.AcceptedAt, err = parseTime(acceptedAt, err)
	return t, err
}

func save(ctx context.Context, tx sqldb.Tx, t Ticket) error {
	items, err := json.Marshal(t.Items)
	if err != nil {
		return err
	}
	proposed, err := json.Marshal(t.Proposed)
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, `UPDATE ticket SET status = ?, before = ?, items = ?, proposed = ?, ready_by = ?, accepted_at = ? WHERE order_id = ?`,
		string(t.Status), string(t.Before), string(items), string(proposed), formatTime(t.ReadyBy), formatTime(t.AcceptedAt), t.OrderID)
	return err
}

func record(ctx context.Context, tx sqldb.Tx, orderID string, events []kitchenapi.Event) (eventsource.Commit, error) {
	if len(events) == 0 {
		return eventsource.Commit{}, nil
	}
	records := make([]event.Record, len(events))
	for i, e := range events {
		r, err := kitchenapi.Codec.Encode(e)
		if err != nil {
			return eventsource.Commit{}, err
		}
		records[i] = r
	}
	return outbox.Add(ctx, tx, event.Stream{Category: kitchenapi.Category, ID: orderID}, records...)
}

func formatTime(t *time.Time) sql.NullString {
	if t == nil {
		return sql.NullString{}
	}
	return sql.NullString{String: t.UTC().Format(time.RFC3339Nano), Valid: true}
}

func parseTime(s sql.NullString, err error) (*time.Time, error) {
	if err != nil || !s.Valid {
		return nil, err
	}
	t, err := time.Parse(time.RFC3339Nano, s.String)
	return &t, err
}
