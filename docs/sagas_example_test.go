package docs_test

import (
	"context"
	"testing"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/saga"
	"github.com/cleave-go/cleave/saga/sagatest"
	"github.com/cleave-go/cleave/service"
	"github.com/cleave-go/cleave/sqldb"
)

// What the participants offer, in their api packages.
type (
	TicketRequest struct{ Order string }
	Ticket        struct{ ID string }
	Charge        struct {
		Order string
		Cents int64
	}
	Nothing struct{}
)

var (
	CreateTicket  = saga.Endpoint[TicketRequest, Ticket]{Service: "kitchen", Command: "create-ticket"}
	CancelTicket  = saga.Endpoint[TicketRequest, Nothing]{Service: "kitchen", Command: "cancel-ticket"}
	ConfirmTicket = saga.Endpoint[Ticket, Nothing]{Service: "kitchen", Command: "confirm-ticket"}
	Authorize     = saga.Endpoint[Charge, Nothing]{Service: "accounting", Command: "authorize"}
	Reverse       = saga.Endpoint[Charge, Nothing]{Service: "accounting", Command: "reverse"}
)

// Purchase is what a saga carries from step to step.
type Purchase struct {
	Order  string
	Cents  int64
	Ticket string
}

func setState(state string) func(context.Context, sqldb.Tx, *Purchase) error {
	return func(ctx context.Context, tx sqldb.Tx, p *Purchase) error {
		_, err := tx.ExecContext(ctx, "UPDATE purchase SET state = ? WHERE id = ?", state, p.Order)
		return err
	}
}

func reject(ctx context.Context, tx sqldb.Tx, p *Purchase, why saga.Failure) error {
	_, err := tx.ExecContext(ctx, "UPDATE purchase SET state = 'rejected', reason = ? WHERE id = ?", why.Code, p.Order)
	return err
}

var Buy = saga.Define("buy",
	saga.Local("begin", setState("pending")).Undo(saga.Locally(reject)),
	saga.Call("ticket", CreateTicket,
		func(p *Purchase) TicketRequest { return TicketRequest{p.Order} },
		func(p *Purchase, t Ticket) { p.Ticket = t.ID }).
		Undo(saga.Command(CancelTicket, func(p *Purchase, _ saga.Failure) TicketRequest { return TicketRequest{p.Order} })).
		Timeout(10*time.Second),
	saga.Call("authorize", Authorize, func(p *Purchase) Charge { return Charge{p.Order, p.Cents} }, nil).
		Undo(saga.Command(Reverse, func(p *Purchase, _ saga.Failure) Charge { return Charge{p.Order, p.Cents} })).
		Timeout(10*time.Second).Pivot(),
	saga.Call("confirm", ConfirmTicket, func(p *Purchase) Ticket { return Ticket{p.Ticket} }, nil),
	saga.Local("approve", setState("approved")))

func buy(ctx context.Context, db *sqldb.DB, order string, cents int64) (id event.ID, err error) {
	err = db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO purchase (id, state) VALUES (?, 'new')", order); err != nil {
			return err
		}
		id, err = Buy.Start(ctx, tx, order, Purchase{Order: order, Cents: cents})
		return err
	})
	return id, err
}

func composeSagas(host *service.Host, db *sqldb.DB) error {
	sagas, err := saga.NewOrchestrator("shop", db, host.Bus(), nil, Buy)
	if err != nil {
		return err
	}
	host.Run("sagas", sagas.Run)
	host.Operate("saga", sagas.Operations())
	return nil
}

func composeAccounting(host *service.Host, db *sqldb.DB) error {
	commands, err := saga.NewParticipant("accounting", db, host.Bus(), []string{"shop"}, nil,
		saga.Handle(Authorize, func(ctx context.Context, tx sqldb.Tx, c Charge) (Nothing, error) {
			if c.Cents > 50_000 {
				return Nothing{}, saga.Refuse("CARD_LIMIT", "over 500.00")
			}
			_, err := tx.ExecContext(ctx, "INSERT INTO charge (purchase, cents) VALUES (?, ?)", c.Order, c.Cents)
			return Nothing{}, err
		}),
		saga.Handle(Reverse, func(ctx context.Context, tx sqldb.Tx, c Charge) (Nothing, error) {
			_, err := tx.ExecContext(ctx, "DELETE FROM charge WHERE purchase = ?", c.Order) // none is fine
			return Nothing{}, err
		}))
	if err != nil {
		return err
	}
	host.Run("commands", commands.Run)
	return nil
}

// BuyNow asks the card before the kitchen.
var BuyNow = saga.Define("buy",
	saga.Call("authorize", Authorize, func(p *Purchase) Charge { return Charge{p.Order, p.Cents} }, nil).
		Undo(saga.Command(Reverse, func(p *Purchase, _ saga.Failure) Charge { return Charge{p.Order, p.Cents} })),
	saga.Call("ticket", CreateTicket, func(p *Purchase) TicketRequest { return TicketRequest{p.Order} }, nil)).Version(1)

func composeBoth(host *service.Host, db *sqldb.DB) (*saga.Orchestrator, error) {
	return saga.NewOrchestrator("shop", db, host.Bus(), nil, Buy, BuyNow)
}

func TestARefusedCardTakesTheTicketBack(t *testing.T) {
	sagatest.For(t, Buy, Purchase{Order: "o1", Cents: 60_000}).
		Local("begin").Done().
		Expect("kitchen/create-ticket").Reply(Ticket{"t1"}).
		Expect("accounting/authorize").Refuse("CARD_LIMIT", "over 500.00").
		Expect("kitchen/cancel-ticket").Done().
		Undo("begin").Done().
		Ended(saga.RolledBack)
}

var _ = []any{buy, composeSagas, composeAccounting, composeBoth}
