// Package consumers keeps the people who order: a row each, and an event for
// every change, written in one transaction.
package consumers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/examples/ftgo/consumer/consumerapi"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/sqldb"
)

// Consumer is a person who orders.
type Consumer struct {
	ID          string
	FirstName   string
	LastName    string
	CardToken   string // empty: no card yet
	CardVersion int64  // rises by one with each card; 0: none yet
}

var (
	// ErrUnknown says that there is no such consumer.
	ErrUnknown = errors.New("there is no such consumer")
	// ErrRegistered says that the id is taken.
	ErrRegistered = errors.New("this consumer is registered already")
)

// FieldError says what is wrong with a field.
type FieldError struct{ Field, Reason string }

func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

const maxName = 100 // bytes

// Consumers is the table of consumers. It is safe for concurrent use.
type Consumers struct{ db *sqldb.DB }

// New returns the consumers in db.
func New(db *sqldb.DB) *Consumers { return &Consumers{db: db} }

// Register adds c. It returns a *FieldError, or ErrRegistered.
func (cs *Consumers) Register(ctx context.Context, c Consumer) (eventsource.Commit, error) {
	if err := checkNames(c); err != nil {
		return eventsource.Commit{}, err
	}
	if c.CardToken != "" {
		if err := checkCard(c.CardToken); err != nil {
			return eventsource.Commit{}, err
		}
		c.CardVersion = 1
	}
	var commit eventsource.Commit
	err := cs.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		result, err := tx.ExecContext(ctx, `INSERT INTO consumer (id, first_name, last_name, card_token, card_version)
			VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`, c.ID, c.FirstName, c.LastName, c.CardToken, c.CardVersion)
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrRegistered)
		}
		commit, err = record(ctx, tx, c.ID, consumerapi.Registered{
			FirstName: c.FirstName, LastName: c.LastName, CardToken: c.CardToken, CardVersion: c.CardVersion,
		})
		return err
	})
	return commit, err
}

// SetCard makes token the consumer's card. It returns a *FieldError, or ErrUnknown.
func (cs *Consumers) SetCard(ctx context.Context, id, token string) (Consumer, eventsource.Commit, error) {
	if err := checkCard(token); err != nil {
		return Consumer{}, eventsource.Commit{}, err
	}
	var (
		c      Consumer
		commit eventsource.Commit
	)
	err := cs.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		var err error
		if c, err = find(ctx, tx, id); err != nil {
			return err
		}
		c.CardToken, c.CardVersion = token, c.CardVersion+1
		if _, err := tx.ExecContext(ctx, `UPDATE consumer SET card_token = ?, card_version = ? WHERE id = ?`, token, c.CardVersion, id); err != nil {
			return err
		}
		commit, err = record(ctx, tx, id, consumerapi.CardChanged{CardToken: token, CardVersion: c.CardVersion})
		return err
	})
	return c, commit, err
}

// BatchGet returns the consumers among ids that exist.
func (cs *Consumers) BatchGet(ctx context.Context, ids []string) ([]Consumer, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	args := make([]any, len(ids))
	for i, id := range ids {
		args[i] = id
	}
	rows, err := cs.db.QueryContext(ctx, `SELECT id, first_name, last_name, card_token, card_version FROM consumer
		WHERE id IN (?`+strings.Repeat(", ?", len(ids)-1)+`)`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []Consumer
	for rows.Next() {
		var c Consumer
		if err := rows.Scan(&c.ID, &c.FirstName, &c.LastName, &c.CardToken, &c.CardVersion); err != nil {
			return nil, err
		}
		found = append(found, c)
	}
	return found, rows.Err()
}

// Find returns the consumer with the id, or ErrUnknown, as tx sees it.
func (cs *Consumers) Find(ctx context.Context, tx sqldb.Tx, id string) (Consumer, error) {
	return find(ctx, tx, id)
}

func find(ctx context.Context, tx sqldb.Tx, id string) (Consumer, error) {
	c := Consumer{ID: id}
	err := tx.QueryRowContext(ctx, `SELECT first_name, last_name, card_token, card_version FROM consumer WHERE id = ?`, id).
		Scan(&c.FirstName, &c.LastName, &c.CardToken, &c.CardVersion)
	if errors.Is(err, sql.ErrNoRows) {
		return Consumer{}, ErrUnknown
	}
	return c, err
}

func record(ctx context.Context, tx sqldb.Tx, id string, e consumerapi.Event) (eventsource.Commit, error) {
	r, err := consumerapi.Codec.Encode(e)
	if err != nil {
		return eventsource.Commit{}, err
	}
	return outbox.Add(ctx, tx, event.Stream{Category: consumerapi.Category, ID: id}, r)
}

func checkNames(c Consumer) error {
	for _, f := range []struct{ field, value string }{{"firstName", c.FirstName}, {"lastName", c.LastName}} {
		if strings.TrimSpace(f.value) == "" {
			return &FieldError{f.field, "is empty"}
		}
		if len(f.value) > maxName {
			return &FieldError{f.field, fmt.Sprintf("has %d bytes; at most %d are kept", len(f.value), maxName)}
		}
	}
	return nil
}

// checkCard knows the test cards, the only ones there are.
func checkCard(token string) error {
	limit, isLimit := strings.CutPrefix(token, "limit-")
	switch {
	case token == "ok", token == "expired":
		return nil
	case isLimit:
		if n, err := strconv.ParseUint(limit, 10, 31); err == nil && strconv.FormatUint(n, 10) == limit {
			return nil
		}
	}
	return &FieldError{"card.token", "is not a test card; those are ok, expired and limit-<minor units>"}
}
