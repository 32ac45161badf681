// Package ledger applies commands to accounts and payments, and keeps the table
// of payments in the transaction that appends their events.
package ledger

import (
	"context"
	"errors"
	"strings"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/examples/ftgo/accounting/accountingapi"
	"github.com/cleave-go/cleave/examples/ftgo/accounting/internal/domain"
	"github.com/cleave-go/cleave/examples/ftgo/consumer/consumerapi"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/saga"
	"github.com/cleave-go/cleave/sqldb"
)

// Ledger is what accounting knows. It is safe for concurrent use.
type Ledger struct {
	db       *sqldb.DB
	accounts *eventsource.Repository[domain.Account, domain.AccountCommand, accountingapi.AccountEvent]
	payments *eventsource.Repository[domain.Payment, domain.PaymentCommand, accountingapi.PaymentEvent]
}

// New returns the ledger in db, whose events are in store.
func New(db *sqldb.DB, store eventsource.Store) *Ledger {
	return &Ledger{
		db:       db,
		accounts: eventsource.NewRepository(store, domain.Accounts),
		payments: eventsource.NewRepository(store, domain.Payments),
	}
}

// Handlers answers what the order service's sagas ask.
func (l *Ledger) Handlers() []saga.Handler {
	return []saga.Handler{
		saga.Handle(accountingapi.Authorize, l.authorize),
		saga.Handle(accountingapi.ReviseAuthorization, l.revise),
		saga.Handle(accountingapi.Reverse, l.reverse),
	}
}

// Accounts opens an account for every consumer and keeps its card.
func (l *Ledger) Accounts() projection.Projection {
	return projection.Projection{
		Name: "accounts", Version: 1, Sources: []string{"consumer"},
		Apply: projection.On(consumerapi.Codec, func(ctx context.Context, tx sqldb.Tx, e event.Envelope[consumerapi.Event]) error {
			var cmd domain.AccountCommand
			switch data := e.Data.(type) {
			case consumerapi.Registered:
				cmd = domain.OpenAccount{CardToken: data.CardToken, CardVersion: data.CardVersion}
			case consumerapi.CardChanged:
				cmd = domain.ReplaceCard{CardToken: data.CardToken, CardVersion: data.CardVersion}
			default:
				return nil
			}
			_, err := l.accounts.In(tx).Handle(ctx, e.Stream.ID, cmd)
			return err
		}),
	}
}

func (l *Ledger) authorize(ctx context.Context, tx sqldb.Tx, cmd accountingapi.AuthorizeCommand) (accountingapi.Done, error) {
	account, err := l.accounts.In(tx).Load(ctx, cmd.ConsumerID)
	if err != nil {
		return accountingapi.Done{}, err
	}
	if !account.State.Opened || account.State.CardVersion < cmd.CardVersion {
		return accountingapi.Done{}, saga.ErrNotYet // the consumer's events have not come so far
	}
	p, err := l.decide(ctx, tx, cmd.OrderID, domain.Authorize{
		ConsumerID: cmd.ConsumerID, Account: account.State, Total: cmd.Total, Currency: cmd.Currency,
	})
	if err != nil {
		return accountingapi.Done{}, err
	}
	switch p.Status {
	case domain.Refused:
		return accountingapi.Done{}, saga.Refuse(p.Reason, "the card does not cover the order")
	case domain.Reversed:
		return accountingapi.Done{}, saga.Refuse(domain.AuthorizationClosed, "the authorization was reversed before")
	}
	return accountingapi.Done{}, nil
}

func (l *Ledger) revise(ctx context.Context, tx sqldb.Tx, cmd accountingapi.ReviseCommand) (accountingapi.Done, error) {
	payment, err := l.payments.In(tx).Load(ctx, cmd.OrderID)
	if err != nil {
		return accountingapi.Done{}, err
	}
	account, err := l.accounts.In(tx).Load(ctx, payment.State.ConsumerID)
	if err != nil {
		return accountingapi.Done{}, err
	}
	_, err = l.decide(ctx, tx, cmd.OrderID, domain.Revise{Account: account.State, Total: cmd.Total})
	var refused *domain.RefusedError
	if errors.As(err, &refused) {
		err = saga.Refuse(refused.Reason, "the card does not cover the revised order")
	}
	return accountingapi.Done{}, err
}

func (l *Ledger) reverse(ctx context.Context, tx sqldb.Tx, cmd accountingapi.ReverseCommand) (accountingapi.Done, error) {
	_, err := l.decide(ctx, tx, cmd.OrderID, domain.Reverse{})
	return accountingapi.Done{}, err
}

// decide applies cmd to the payment of an order and brings its row up to date.
func (l *Ledger) decide(ctx context.Context, tx sqldb.Tx, orderID string, cmd domain.PaymentCommand) (domain.Payment, error) {
	payments := l.payments.In(tx)
	if _, err := payments.Handle(ctx, orderID, cmd); err != nil {
		return domain.Payment{}, err
	}
	loaded, err := payments.Load(ctx, orderID)
	if err != nil {
		return domain.Payment{}, err
	}
	p := loaded.State
	if p.Total == 0 {
		return p, nil // nothing was ever held
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO payment (order_id, consumer_id, total, currency, reversed) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (order_id) DO UPDATE SET total = excluded.total, reversed = excluded.reversed`,
		orderID, p.ConsumerID, p.Total, p.Currency, p.Status == domain.Reversed)
	return p, err
}

// Payment is a row of the table of payments.
type Payment struct {
	OrderID    string
	ConsumerID string
	Total      int64
	Currency   string
	Reversed   bool
}

// BatchGet returns the payments of those orders that have one.
func (l *Ledger) BatchGet(ctx context.Context, orderIDs []string) ([]Payment, error) {
	if len(orderIDs) == 0 {
		return nil, nil
	}
	args := make([]any, len(orderIDs))
	for i, id := range orderIDs {
		args[i] = id
	}
	rows, err := l.db.QueryContext(ctx, `SELECT order_id, consumer_id, total, currency, reversed FROM payment
		WHERE order_id IN (?`+strings.Repeat(", ?", len(orderIDs)-1)+`)`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var found []Payment
	for rows.Next() {
		var p Payment
		if err := rows.Scan(&p.OrderID, &p.ConsumerID, &p.Total, &p.Currency, &p.Reversed); err != nil {
			return nil, err
		}
		found = append(found, p)
	}
	return found, rows.Err()
}

// Balance returns the sum and the number of what is authorized and not reversed.
func (l *Ledger) Balance(ctx context.Context) (total, authorizations int64, err error) {
	err = l.db.QueryRowContext(ctx, `SELECT coalesce(sum(total), 0), count(*) FROM payment WHERE NOT reversed`).Scan(&total, &authorizations)
	return total, authorizations, err
}
