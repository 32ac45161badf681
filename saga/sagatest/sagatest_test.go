package sagatest_test

import (
	"context"
	"testing"
	"time"

	"github.com/cleave-go/cleave/saga"
	"github.com/cleave-go/cleave/saga/sagatest"
	"github.com/cleave-go/cleave/sqldb"
)

// The three sagas of a food-delivery system.

type (
	order struct {
		ID, Ticket string
		Total      int64
	}
	ref    struct{ Order string }
	ticket struct{ Ticket string }
	amount struct {
		Order string
		Total int64
	}
	none struct{}
)

func at[Req, Rep any](service, command string) saga.Endpoint[Req, Rep] {
	return saga.Endpoint[Req, Rep]{Service: service, Command: command}
}

func toOrder(o *order) ref                          { return ref{o.ID} }
func why(o *order, _ saga.Failure) ref              { return ref{o.ID} }
func toTicket(o *order) ticket                      { return ticket{o.Ticket} }
func local(context.Context, sqldb.Tx, *order) error { return nil }

var putBack = saga.Locally(func(context.Context, sqldb.Tx, *order, saga.Failure) error { return nil })

func undoBy(service, command string) saga.Undo[order] {
	return saga.Command(at[ref, none](service, command), why)
}

var create = saga.Define("create-order",
	saga.Local[order]("create", nil).Undo(putBack),
	saga.Call("validate", at[ref, amount]("consumer", "validate"), toOrder, func(o *order, a amount) { o.Total = a.Total }).ReadOnly(),
	saga.Call("ticket", at[ref, ticket]("kitchen", "create-ticket"), toOrder, func(o *order, t ticket) { o.Ticket = t.Ticket }).
		Undo(undoBy("kitchen", "cancel-create")),
	saga.Call("authorize", at[amount, none]("accounting", "authorize"), func(o *order) amount { return amount{o.ID, o.Total} }, nil).
		Undo(undoBy("accounting", "reverse")).Timeout(10*time.Second).Pivot(),
	saga.Call("confirm", at[ticket, none]("kitchen", "confirm-create"), toTicket, nil),
	saga.Local("approve", local),
)

var cancel = saga.Define("cancel-order",
	saga.Local("begin", local).Undo(putBack),
	saga.Call("begin-ticket", at[ref, none]("kitchen", "begin-cancel"), toOrder, nil).Undo(undoBy("kitchen", "undo-begin-cancel")),
	saga.Call("reverse", at[ref, none]("accounting", "reverse"), toOrder, nil).Pivot(),
	saga.Call("confirm-ticket", at[ref, none]("kitchen", "confirm-cancel"), toOrder, nil),
	saga.Local("confirm", local),
)

var revise = saga.Define("revise-order",
	saga.Local("begin", local).Undo(putBack),
	saga.Call("begin-ticket", at[ref, none]("kitchen", "begin-revise"), toOrder, nil).Undo(undoBy("kitchen", "undo-begin-revise")),
	saga.Call("revise", at[amount, none]("accounting", "revise"), func(o *order) amount { return amount{o.ID, o.Total} }, nil).Pivot(),
	saga.Call("confirm-ticket", at[ref, none]("kitchen", "confirm-revise"), toOrder, nil),
	saga.Local("confirm", local),
)

func TestCreateOrder(t *testing.T) {
	spec := func(t *testing.T) *sagatest.Spec[order] { return sagatest.For(t, create, order{ID: "o1"}) }
	pending := func(t *testing.T) *sagatest.Spec[order] {
		return spec(t).
			Local("create").Done().
			Expect("consumer/validate").With(ref{"o1"}).Reply(amount{"o1", 1234}).
			Expect("kitchen/create-ticket").With(ref{"o1"}).Reply(ticket{"t1"})
	}
	t.Run("is approved", func(t *testing.T) {
		pending(t).
			Expect("accounting/authorize").With(amount{"o1", 1234}).Done().
			Expect("kitchen/confirm-create").With(ticket{"t1"}).Done().
			Local("approve").Done().
			Ended(saga.Completed).
			Data(func(o order) {
				if o != (order{ID: "o1", Ticket: "t1", Total: 1234}) {
					t.Errorf("data %+v", o)
				}
			})
	})
	t.Run("is rejected when the card is refused", func(t *testing.T) {
		pending(t).
			Expect("accounting/authorize").Refuse("CARD_EXPIRED", "in May").
			Expect("kitchen/cancel-create").With(ref{"o1"}).Done().
			Undo("create").Done().
			Ended(saga.RolledBack).Because("authorize", "CARD_EXPIRED")
	})
	t.Run("is rejected when the consumer is unknown", func(t *testing.T) {
		spec(t).
			Local("create").Done().
			Expect("consumer/validate").Refuse("CONSUMER_UNKNOWN", "").
			Undo("create").Done().
			Ended(saga.RolledBack).Because("validate", "CONSUMER_UNKNOWN")
	})
	t.Run("waits for a partner that is behind", func(t *testing.T) {
		spec(t).
			Local("create").Done().
			Expect("consumer/validate").NotYet().
			After(time.Second).
			Expect("consumer/validate").Reply(amount{"o1", 1}).
			Expect("kitchen/create-ticket").Fail().
			After(time.Second).
			Expect("kitchen/create-ticket")
	})
	t.Run("is rejected at once when accounting is silent", func(t *testing.T) {
		pending(t).
			After(10*time.Second).
			Expect("kitchen/cancel-create").Done().
			Undo("create").Done().
			Ended(saga.Compensating).
			Expect("accounting/reverse").Done().
			Ended(saga.RolledBack).Because("authorize", saga.TimeoutCode)
	})
	t.Run("goes on behind the pivot whatever happens", func(t *testing.T) {
		pending(t).
			Expect("accounting/authorize").Done().
			Expect("kitchen/confirm-create").Refuse("NO", "").
			After(time.Minute).
			Expect("kitchen/confirm-create").Done().
			Local("approve").Fail().
			After(time.Minute).
			Local("approve").Done().
			Ended(saga.Completed)
	})
}

func TestCancelOrder(t *testing.T) {
	sagatest.For(t, cancel, order{ID: "o1"}).
		Local("begin").Done().
		Expect("kitchen/begin-cancel").Refuse("TICKET_PREPARING", "too late").
		Undo("begin").Done().
		Ended(saga.RolledBack).Because("begin-ticket", "TICKET_PREPARING")
	sagatest.For(t, cancel, order{ID: "o1"}).
		Local("begin").Done().
		Expect("kitchen/begin-cancel").Done().
		Expect("accounting/reverse").Done().
		Expect("kitchen/confirm-cancel").Done().
		Local("confirm").Done().
		Ended(saga.Completed)
	sagatest.For(t, cancel, order{ID: "o1"}).
		Local("begin").Refuse("STATE", "not approved").
		Ended(saga.RolledBack)
}

func TestReviseOrder(t *testing.T) {
	sagatest.For(t, revise, order{ID: "o1"}).
		Local("begin").Change(func(o *order) { o.Total = 2000 }).Done().
		Expect("kitchen/begin-revise").Done().
		Expect("accounting/revise").With(amount{"o1", 2000}).Refuse("CARD_LIMIT", "").
		Expect("kitchen/undo-begin-revise").Done().
		Undo("begin").Done().
		Ended(saga.RolledBack).Because("revise", "CARD_LIMIT")
}
