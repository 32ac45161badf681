package domain

import (
	"fmt"
	"math"
	"time"

	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
)

// Command is what can be asked of an order.
type Command interface{ orderCommand() }

// Place asks for a new order of items that the restaurant offers.
type Place struct {
	ConsumerID      string
	RestaurantID    string
	RestaurantName  string
	LineItems       []orderapi.OrderedItem
	DeliveryAddress orderapi.PostalAddress
	DeliveryTime    *time.Time
	At              time.Time
}

// Approve and Reject end the CreateOrder saga.
type (
	Approve struct{}
	Reject  struct{ Reason string }
)

// RequestCancellation begins the CancelOrder saga; the others end it.
type (
	RequestCancellation struct{}
	RefuseCancellation  struct{ Reason string }
	ConfirmCancellation struct{}
)

// ProposeRevision begins the ReviseOrder saga; the others end it.
type (
	ProposeRevision struct{ LineItems []orderapi.OrderedItem }
	RefuseRevision  struct{ Reason string }
	ConfirmRevision struct{}
)

func (Place) orderCommand()               {}
func (Approve) orderCommand()             {}
func (Reject) orderCommand()              {}
func (RequestCancellation) orderCommand() {}
func (RefuseCancellation) orderCommand()  {}
func (ConfirmCancellation) orderCommand() {}
func (ProposeRevision) orderCommand()     {}
func (RefuseRevision) orderCommand()      {}
func (ConfirmRevision) orderCommand()     {}

// StateError says that an order's status does not allow what was asked.
type StateError struct {
	Status Status // empty: there is no such order
	Asked  string
}

func (e *StateError) Error() string {
	if e.Status == "" {
		return "there is no such order"
	}
	return fmt.Sprintf("an order that is %s cannot be %s", e.Status, e.Asked)
}

// Is reports whether target says the same.
func (e *StateError) Is(target error) bool {
	other, ok := target.(*StateError)
	return ok && *other == *e
}

// FieldError says what is wrong with a field of a command.
type FieldError struct{ Field, Reason string }

func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

// Bounds of an order.
const (
	MaxLineItems = 100
	MaxQuantity  = 1000
)

func decide(s State, c Command) ([]orderapi.Event, error) {
	switch c := c.(type) {
	case Place:
		return place(s, c)
	case Approve:
		return settle(s, ApprovalPending, Approved, "approved", orderapi.Approved{})
	case Reject:
		return settle(s, ApprovalPending, Rejected, "rejected", orderapi.Rejected{Reason: c.Reason})
	case RequestCancellation:
		if s.Status == Cancelled {
			return nil, nil
		}
		return settle(s, Approved, CancelPending, "cancelled", orderapi.CancellationRequested{})
	case RefuseCancellation:
		return settle(s, CancelPending, Approved, "kept", orderapi.CancellationRefused{Reason: c.Reason})
	case ConfirmCancellation:
		return settle(s, CancelPending, Cancelled, "cancelled", orderapi.Cancelled{})
	case ProposeRevision:
		return proposeRevision(s, c)
	case RefuseRevision:
		return settle(s, RevisionPending, Approved, "kept", orderapi.RevisionRefused{Reason: c.Reason})
	case ConfirmRevision:
		if s.Proposed == nil {
			return settle(s, RevisionPending, Approved, "revised")
		}
		return []orderapi.Event{orderapi.Revised{LineItems: s.Proposed.LineItems, Total: s.Proposed.Total}}, nil
	}
	return nil, fmt.Errorf("order: unknown command %T", c)
}

// settle decides on events for an order that is from, on nothing for one that
// is to already, and refuses any other.
func settle(s State, from, to Status, asked string, events ...orderapi.Event) ([]orderapi.Event, error) {
	switch s.Status {
	case from:
		return events, nil
	case to:
		return nil, nil
	default:
		return nil, &StateError{Status: s.Status, Asked: asked}
	}
}

func place(s State, c Place) ([]orderapi.Event, error) {
	if s.Status != "" {
		return nil, nil // the same request again
	}
	total, err := Total(c.LineItems)
	if err != nil {
		return nil, err
	}
	return []orderapi.Event{orderapi.Placed{
		ConsumerID: c.ConsumerID, RestaurantID: c.RestaurantID, RestaurantName: c.RestaurantName,
		LineItems: c.LineItems, Total: total,
		DeliveryAddress: c.DeliveryAddress, DeliveryTime: c.DeliveryTime, PlacedAt: c.At,
	}}, nil
}

func proposeRevision(s State, c ProposeRevision) ([]orderapi.Event, error) {
	if s.Status != Approved {
		return nil, &StateError{Status: s.Status, Asked: "revised"}
	}
	total, err := Total(c.LineItems)
	if err != nil {
		return nil, err
	}
	return []orderapi.Event{orderapi.RevisionProposed{LineItems: c.LineItems, Total: total}}, nil
}

// Total adds up line items. It returns a *FieldError when there are none or too
// many, when a quantity is out of bounds, or when currencies differ.
func Total(items []orderapi.OrderedItem) (orderapi.Amount, error) {
	if len(items) == 0 || len(items) > MaxLineItems {
		return orderapi.Amount{}, &FieldError{"lineItems", fmt.Sprintf("has %d entries; an order has 1 to %d", len(items), MaxLineItems)}
	}
	total := orderapi.Amount{Currency: items[0].Price.Currency}
	for i, item := range items {
		if item.Quantity < 1 || item.Quantity > MaxQuantity {
			return orderapi.Amount{}, &FieldError{fmt.Sprintf("lineItems[%d].quantity", i), fmt.Sprintf("is %d; it must be 1 to %d", item.Quantity, MaxQuantity)}
		}
		if item.Price.Currency != total.Currency {
			return orderapi.Amount{}, &FieldError{fmt.Sprintf("lineItems[%d].menuItemId", i), "is priced in another currency than the first item"}
		}
		total.Amount += item.Price.Amount * int64(item.Quantity)
	}
	if total.Amount > math.MaxInt32 {
		return orderapi.Amount{}, &FieldError{"lineItems", "add up to more than can be paid in one order"}
	}
	return total, nil
}
