package domain_test

import (
	"errors"
	"testing"
	"time"

	"github.com/cleave-go/cleave/eventsource/eventsourcetest"
	"github.com/cleave-go/cleave/examples/ftgo/order/internal/domain"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
)

var (
	at       = time.Date(2026, 11, 2, 18, 30, 0, 0, time.UTC)
	vindaloo = orderapi.OrderedItem{MenuItemID: "vindaloo", Name: "Chicken Vindaloo", Price: orderapi.Amount{Amount: 1234, Currency: "USD"}, Quantity: 2}
	naan     = orderapi.OrderedItem{MenuItemID: "naan", Name: "Naan", Price: orderapi.Amount{Amount: 250, Currency: "USD"}, Quantity: 1}

	place  = domain.Place{ConsumerID: "c", RestaurantID: "r", RestaurantName: "Ajanta", LineItems: []orderapi.OrderedItem{vindaloo}, At: at}
	placed = orderapi.Placed{ConsumerID: "c", RestaurantID: "r", RestaurantName: "Ajanta", LineItems: []orderapi.OrderedItem{vindaloo},
		Total: orderapi.Amount{Amount: 2468, Currency: "USD"}, PlacedAt: at}
	proposed = orderapi.RevisionProposed{LineItems: []orderapi.OrderedItem{vindaloo, naan}, Total: orderapi.Amount{Amount: 2718, Currency: "USD"}}
)

func TestOrderLife(t *testing.T) {
	spec := eventsourcetest.For(t, domain.Decider)
	approved := spec.Given(placed, orderapi.Approved{})

	spec.Given().When(place).Then(placed)
	spec.Given(placed).When(place).Then()
	spec.Given(placed).When(domain.Approve{}).Then(orderapi.Approved{})
	approved.When(domain.Approve{}).Then()
	spec.Given(placed).When(domain.Reject{Reason: "CARD_EXPIRED"}).Then(orderapi.Rejected{Reason: "CARD_EXPIRED"})

	approved.When(domain.RequestCancellation{}).Then(orderapi.CancellationRequested{})
	spec.Given(placed, orderapi.Approved{}, orderapi.CancellationRequested{}).When(domain.ConfirmCancellation{}).Then(orderapi.Cancelled{})
	spec.Given(placed, orderapi.Approved{}, orderapi.CancellationRequested{}).When(domain.RefuseCancellation{Reason: "TICKET_STATE"}).
		Then(orderapi.CancellationRefused{Reason: "TICKET_STATE"})
	spec.Given(placed, orderapi.Approved{}, orderapi.CancellationRequested{}, orderapi.Cancelled{}).When(domain.RequestCancellation{}).Then()

	approved.When(domain.ProposeRevision{LineItems: proposed.LineItems}).Then(proposed)
	spec.Given(placed, orderapi.Approved{}, proposed).When(domain.ConfirmRevision{}).Then(orderapi.Revised(proposed))
	spec.Given(placed, orderapi.Approved{}, proposed, orderapi.Revised(proposed)).When(domain.ConfirmRevision{}).Then()
	spec.Given(placed, orderapi.Approved{}, proposed).When(domain.RefuseRevision{Reason: "CARD_LIMIT"}).Then(orderapi.RevisionRefused{Reason: "CARD_LIMIT"})
}

func TestOrderRefuses(t *testing.T) {
	spec := eventsourcetest.For(t, domain.Decider)
	rejected := spec.Given(placed, orderapi.Rejected{Reason: "TIMEOUT"})
	revise := domain.ProposeRevision{LineItems: proposed.LineItems}
	refused := func(s domain.Status, asked string) error { return &domain.StateError{Status: s, Asked: asked} }

	spec.Given().When(domain.Approve{}).ThenError(refused("", "approved"))
	rejected.When(domain.Approve{}).ThenError(refused(domain.Rejected, "approved"))
	rejected.When(domain.RequestCancellation{}).ThenError(refused(domain.Rejected, "cancelled"))
	spec.Given(placed).When(domain.RequestCancellation{}).ThenError(refused(domain.ApprovalPending, "cancelled"))
	spec.Given(placed).When(revise).ThenError(refused(domain.ApprovalPending, "revised"))
	spec.Given(placed, orderapi.Approved{}, proposed).When(revise).ThenError(refused(domain.RevisionPending, "revised"))
	spec.Given(placed, orderapi.Approved{}, proposed).When(domain.RequestCancellation{}).ThenError(refused(domain.RevisionPending, "cancelled"))
}

func TestTotalNamesTheField(t *testing.T) {
	with := func(change func(*orderapi.OrderedItem)) []orderapi.OrderedItem {
		item := vindaloo
		change(&item)
		return []orderapi.OrderedItem{naan, item}
	}
	for _, tt := range []struct {
		name  string
		items []orderapi.OrderedItem
		field string
	}{
		{"no items", nil, "lineItems"},
		{"too many items", make([]orderapi.OrderedItem, domain.MaxLineItems+1), "lineItems"},
		{"a quantity of zero", with(func(i *orderapi.OrderedItem) { i.Quantity = 0 }), "lineItems[1].quantity"},
		{"a negative quantity", with(func(i *orderapi.OrderedItem) { i.Quantity = -1 }), "lineItems[1].quantity"},
		{"a huge quantity", with(func(i *orderapi.OrderedItem) { i.Quantity = domain.MaxQuantity + 1 }), "lineItems[1].quantity"},
		{"two currencies", with(func(i *orderapi.OrderedItem) { i.Price.Currency = "EUR" }), "lineItems[1].menuItemId"},
		{"a sum out of range", with(func(i *orderapi.OrderedItem) { i.Price.Amount, i.Quantity = 1<<31, 1000 }), "lineItems"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := domain.Total(tt.items)
			var fieldErr *domain.FieldError
			if !errors.As(err, &fieldErr) || fieldErr.Field != tt.field {
				t.Errorf("got %v, want an error about %s", err, tt.field)
			}
		})
	}
}
