package domain

import (
	"time"

	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
)

// Status is where an order stands. Its text is the name of the public OrderStatus.
type Status string

// The statuses; see the package comment for the ways between them.
const (
	ApprovalPending Status = "APPROVAL_PENDING"
	Approved        Status = "APPROVED"
	Rejected        Status = "REJECTED"
	CancelPending   Status = "CANCEL_PENDING"
	Cancelled       Status = "CANCELLED"
	RevisionPending Status = "REVISION_PENDING"
)

// Pending reports whether a saga is still deciding.
func (s Status) Pending() bool {
	return s == ApprovalPending || s == CancelPending || s == RevisionPending
}

// State is an order as its events tell it. The zero State is no order yet.
type State struct {
	Status          Status
	RejectionReason string
	ConsumerID      string
	RestaurantID    string
	LineItems       []orderapi.OrderedItem
	Total           orderapi.Amount
	Proposed        *orderapi.RevisionProposed // while a revision is pending
	DeliveryAddress orderapi.PostalAddress
	DeliveryTime    *time.Time
	PlacedAt        time.Time
}

// Decider is the order aggregate.
var Decider = eventsource.Decider[State, Command, orderapi.Event]{
	Category: orderapi.Category,
	Codec:    orderapi.Codec,
	Evolve:   evolve,
	Decide:   decide,
}

func evolve(s State, e orderapi.Event) State {
	switch e := e.(type) {
	case orderapi.Placed:
		return State{
			Status: ApprovalPending, ConsumerID: e.ConsumerID, RestaurantID: e.RestaurantID,
			LineItems: e.LineItems, Total: e.Total,
			DeliveryAddress: e.DeliveryAddress, DeliveryTime: e.DeliveryTime, PlacedAt: e.PlacedAt,
		}
	case orderapi.Approved:
		s.Status = Approved
	case orderapi.Rejected:
		s.Status, s.RejectionReason = Rejected, e.Reason
	case orderapi.CancellationRequested:
		s.Status = CancelPending
	case orderapi.CancellationRefused:
		s.Status = Approved
	case orderapi.Cancelled:
		s.Status = Cancelled
	case orderapi.RevisionProposed:
		s.Status, s.Proposed = RevisionPending, &e
	case orderapi.RevisionRefused:
		s.Status, s.Proposed = Approved, nil
	case orderapi.Revised:
		s.Status, s.Proposed = Approved, nil
		s.LineItems, s.Total = e.LineItems, e.Total
	}
	return s
}
