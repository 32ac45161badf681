package sagas_test

import (
	"testing"
	"time"

	"github.com/cleave-go/cleave/examples/ftgo/accounting/accountingapi"
	"github.com/cleave-go/cleave/examples/ftgo/consumer/consumerapi"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/kitchenapi"
	"github.com/cleave-go/cleave/examples/ftgo/order/internal/sagas"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
	"github.com/cleave-go/cleave/saga"
	"github.com/cleave-go/cleave/saga/sagatest"
)

var (
	definitions = sagas.New(nil) // local steps are answered, not carried out
	items       = []kitchenapi.TicketItem{{MenuItemID: "vindaloo", Name: "Chicken Vindaloo", Quantity: 2}}
	total       = orderapi.Amount{Amount: 2468, Currency: "USD"}
	ticket      = kitchenapi.TicketCommand{OrderID: "o"}
	reverse     = accountingapi.ReverseCommand{OrderID: "o"}
)

const patience = 20 * time.Second

type (
	creating   = sagatest.Spec[sagas.CreateOrder]
	cancelling = sagatest.Spec[sagas.CancelOrder]
	revising   = sagatest.Spec[sagas.ReviseOrder]
)

// Each path goes from the first step to the end.

func TestCreateOrder(t *testing.T) {
	validated := func(s *creating) *creating {
		return s.Expect("consumer/validate-order").With(consumerapi.ValidateOrderCommand{ConsumerID: "ada", OrderID: "o"}).
			Reply(consumerapi.ValidateOrderReply{CardVersion: 3})
	}
	ticketed := func(s *creating) *creating {
		return validated(s).Expect("kitchen/create-ticket").With(kitchenapi.CreateTicketCommand{
			OrderID: "o", RestaurantID: "r", ConsumerID: "ada", LineItems: items, MenuVersion: 7}).Done()
	}
	authorized := func(s *creating) *creating {
		return ticketed(s).Expect("accounting/authorize").With(accountingapi.AuthorizeCommand{
			OrderID: "o", ConsumerID: "ada", CardVersion: 3, Total: 2468, Currency: "USD"}).Done()
	}
	for _, tt := range []struct {
		name string
		path func(s *creating)
	}{
		{"is approved", func(s *creating) {
			authorized(s).Expect("kitchen/confirm-create-ticket").With(ticket).Done().Local("approve").Done().Ended(saga.Completed)
		}},
		{"an unknown consumer leaves no ticket", func(s *creating) {
			s.Expect("consumer/validate-order").Refuse(consumerapi.ConsumerUnknown, "").
				Undo("place").Done().Ended(saga.RolledBack).Because("validate-consumer", consumerapi.ConsumerUnknown)
		}},
		{"a refused ticket is not cancelled", func(s *creating) {
			validated(s).Expect("kitchen/create-ticket").Refuse(kitchenapi.RestaurantRefused, "").
				Undo("place").Done().Ended(saga.RolledBack).Because("create-ticket", kitchenapi.RestaurantRefused)
		}},
		{"a refused card cancels the ticket and is not charged", func(s *creating) {
			ticketed(s).Expect("accounting/authorize").Refuse(accountingapi.CardExpired, "").
				Expect("kitchen/cancel-create-ticket").With(ticket).Done().
				Undo("place").Done().Ended(saga.RolledBack).Because("authorize-card", accountingapi.CardExpired)
		}},
		{"a silent consumer service", func(s *creating) {
			s.After(patience).Undo("place").Done().Ended(saga.RolledBack).Because("validate-consumer", saga.TimeoutCode)
		}},
		{"a silent kitchen cancels what it may still create", func(s *creating) {
			validated(s).After(patience).Undo("place").Done().Ended(saga.Compensating).
				Expect("kitchen/cancel-create-ticket").With(ticket).Done().Ended(saga.RolledBack).Because("create-ticket", saga.TimeoutCode)
		}},
		{"a silent accounting reverses what it may still authorize", func(s *creating) {
			ticketed(s).After(patience).Expect("accounting/reverse-authorization").With(reverse).Done().
				Expect("kitchen/cancel-create-ticket").With(ticket).Done().
				Undo("place").Done().Ended(saga.RolledBack).Because("authorize-card", saga.TimeoutCode)
		}},
		{"a kitchen that has not seen the menu is asked again", func(s *creating) {
			validated(s).Expect("kitchen/create-ticket").NotYet().After(time.Second).Expect("kitchen/create-ticket").Done().
				Expect("accounting/authorize")
		}},
		{"a failing compensation is tried until it is done", func(s *creating) {
			ticketed(s).Expect("accounting/authorize").Refuse(accountingapi.CardLimit, "").
				Expect("kitchen/cancel-create-ticket").Fail().After(time.Minute).
				Expect("kitchen/cancel-create-ticket").Done().
				Undo("place").Fail().After(time.Minute).
				Undo("place").Done().Ended(saga.RolledBack)
		}},
		{"a charged card is approved, however long it takes", func(s *creating) {
			authorized(s).Expect("kitchen/confirm-create-ticket").Fail().After(time.Hour).
				Expect("kitchen/confirm-create-ticket").Done().
				Local("approve").Fail().After(time.Hour).Local("approve").Done().Ended(saga.Completed)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.path(sagatest.For(t, definitions.Create, sagas.CreateOrder{
				OrderID: "o", ConsumerID: "ada", RestaurantID: "r", LineItems: items, MenuVersion: 7, Total: total,
			}).Local("place").Done())
		})
	}
}

func TestCancelOrder(t *testing.T) {
	begun := func(s *cancelling) *cancelling { return s.Expect("kitchen/begin-cancel-ticket").With(ticket).Done() }
	for _, tt := range []struct {
		name string
		path func(s *cancelling)
	}{
		{"is cancelled", func(s *cancelling) {
			begun(s).Expect("accounting/reverse-authorization").With(reverse).Done().
				Expect("kitchen/confirm-cancel-ticket").With(ticket).Done().Local("cancel").Done().Ended(saga.Completed)
		}},
		{"a kitchen that cooks keeps the order", func(s *cancelling) {
			s.Expect("kitchen/begin-cancel-ticket").Refuse(kitchenapi.TicketState, "").
				Undo("request").Done().Ended(saga.RolledBack).Because("begin-cancel-ticket", kitchenapi.TicketState)
		}},
		{"a silent kitchen keeps the order and the ticket", func(s *cancelling) {
			s.After(patience).Expect("kitchen/undo-cancel-ticket").With(ticket).Done().
				Undo("request").Done().Ended(saga.RolledBack).Because("begin-cancel-ticket", saga.TimeoutCode)
		}},
		{"a reversal that is refused gives the ticket back", func(s *cancelling) {
			begun(s).Expect("accounting/reverse-authorization").Refuse("CLOSED", "").
				Expect("kitchen/undo-cancel-ticket").With(ticket).Done().
				Undo("request").Done().Ended(saga.RolledBack).Because("reverse-authorization", "CLOSED")
		}},
		{"a silent accounting is waited for", func(s *cancelling) {
			begun(s).After(time.Hour).Expect("accounting/reverse-authorization").Done().Expect("kitchen/confirm-cancel-ticket")
		}},
		{"what is paid back is cancelled, however long it takes", func(s *cancelling) {
			begun(s).Expect("accounting/reverse-authorization").Done().
				Expect("kitchen/confirm-cancel-ticket").Fail().After(time.Hour).
				Expect("kitchen/confirm-cancel-ticket").Done().Local("cancel").Done().Ended(saga.Completed)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.path(sagatest.For(t, definitions.Cancel, sagas.CancelOrder{OrderID: "o"}).Local("request").Done())
		})
	}
}

func TestReviseOrder(t *testing.T) {
	begun := func(s *revising) *revising {
		return s.Expect("kitchen/begin-revise-ticket").With(kitchenapi.ReviseTicketCommand{OrderID: "o", LineItems: items, MenuVersion: 7}).Done()
	}
	for _, tt := range []struct {
		name string
		path func(s *revising)
	}{
		{"is revised", func(s *revising) {
			begun(s).Expect("accounting/revise-authorization").With(accountingapi.ReviseCommand{OrderID: "o", Total: 2468}).Done().
				Expect("kitchen/confirm-revise-ticket").With(ticket).Done().Local("revise").Done().Ended(saga.Completed)
		}},
		{"a kitchen that cooks keeps the order", func(s *revising) {
			s.Expect("kitchen/begin-revise-ticket").Refuse(kitchenapi.TicketState, "").
				Undo("propose").Done().Ended(saga.RolledBack).Because("begin-revise-ticket", kitchenapi.TicketState)
		}},
		{"a silent kitchen keeps the order and the ticket", func(s *revising) {
			s.After(patience).Expect("kitchen/undo-revise-ticket").With(ticket).Done().
				Undo("propose").Done().Ended(saga.RolledBack).Because("begin-revise-ticket", saga.TimeoutCode)
		}},
		{"a card's limit gives the ticket back", func(s *revising) {
			begun(s).Expect("accounting/revise-authorization").Refuse(accountingapi.CardLimit, "").
				Expect("kitchen/undo-revise-ticket").With(ticket).Done().
				Undo("propose").Done().Ended(saga.RolledBack).Because("revise-authorization", accountingapi.CardLimit)
		}},
		{"what is authorized is revised, however long it takes", func(s *revising) {
			begun(s).Expect("accounting/revise-authorization").Done().
				Expect("kitchen/confirm-revise-ticket").Fail().After(time.Hour).
				Expect("kitchen/confirm-revise-ticket").Done().Local("revise").Done().Ended(saga.Completed)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.path(sagatest.For(t, definitions.Revise, sagas.ReviseOrder{OrderID: "o", LineItems: items, MenuVersion: 7, Total: total}).Local("propose").Done())
		})
	}
}
