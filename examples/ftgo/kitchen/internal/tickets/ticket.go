package tickets

import (
	"fmt"
	"time"

	"github.com/cleave-go/cleave/examples/ftgo/kitchen/kitchenapi"
)

// Status is where a ticket stands. Its text is the name of the public TicketStatus.
type Status string

// The statuses; see the package comment for the ways between them.
const (
	CreatePending      Status = "CREATE_PENDING"
	AwaitingAcceptance Status = "AWAITING_ACCEPTANCE"
	Accepted           Status = "ACCEPTED"
	Preparing          Status = "PREPARING"
	ReadyForPickup     Status = "READY_FOR_PICKUP"
	PickedUp           Status = "PICKED_UP"
	CancelPending      Status = "CANCEL_PENDING"
	Cancelled          Status = "CANCELLED"
	RevisionPending    Status = "REVISION_PENDING"
)

// Ticket is what a restaurant prepares for an order. Its methods change it and
// return the events that tell of it; asked again for what is done already, they
// do nothing.
type Ticket struct {
	OrderID      string
	RestaurantID string
	ConsumerID   string
	Status       Status
	Before       Status // what a pending cancellation or revision goes back to
	Items        []kitchenapi.TicketItem
	Proposed     []kitchenapi.TicketItem // while a revision is pending
	ReadyBy      *time.Time
	AcceptedAt   *time.Time
}

// StateError says that a ticket's status does not allow what was asked.
type StateError struct {
	Status Status
	Asked  string
}

func (e *StateError) Error() string {
	return fmt.Sprintf("a ticket that is %s cannot be %s", e.Status, e.Asked)
}

// ReadyByError says that a time of readiness is not in the future.
type ReadyByError struct{ ReadyBy, Now time.Time }

func (e *ReadyByError) Error() string {
	return fmt.Sprintf("is %s, which is not after %s", e.ReadyBy.Format(time.RFC3339), e.Now.Format(time.RFC3339))
}

// ConfirmCreate makes a pending ticket one that awaits acceptance.
func (t *Ticket) ConfirmCreate() ([]kitchenapi.Event, error) {
	return t.step(CreatePending, AwaitingAcceptance, "confirmed", kitchenapi.Created{RestaurantID: t.RestaurantID, ConsumerID: t.ConsumerID})
}

// Accept promises that the order is ready by readyBy. It returns a *StateError
// or a *ReadyByError.
func (t *Ticket) Accept(readyBy, now time.Time) ([]kitchenapi.Event, error) {
	if !readyBy.After(now) {
		return nil, &ReadyByError{ReadyBy: readyBy, Now: now}
	}
	if t.Status != AwaitingAcceptance {
		return nil, &StateError{Status: t.Status, Asked: "accepted"}
	}
	t.Status, t.ReadyBy, t.AcceptedAt = Accepted, &readyBy, &now
	return []kitchenapi.Event{kitchenapi.Accepted{RestaurantID: t.RestaurantID, ReadyBy: readyBy}}, nil
}

// StartPreparing makes it too late to cancel.
func (t *Ticket) StartPreparing() ([]kitchenapi.Event, error) {
	return t.step(Accepted, Preparing, "prepared", kitchenapi.PreparationStarted{})
}

// FinishPreparing calls for the courier.
func (t *Ticket) FinishPreparing() ([]kitchenapi.Event, error) {
	return t.step(Preparing, ReadyForPickup, "finished", kitchenapi.PreparationCompleted{})
}

// PickUp hands the food over.
func (t *Ticket) PickUp() ([]kitchenapi.Event, error) {
	return t.step(ReadyForPickup, PickedUp, "picked up", kitchenapi.PickedUp{})
}

// BeginCancel holds the ticket until the cancellation is confirmed or undone.
func (t *Ticket) BeginCancel() ([]kitchenapi.Event, error) {
	return nil, t.hold(CancelPending, "cancelled")
}

// ConfirmCancel ends the ticket.
func (t *Ticket) ConfirmCancel() ([]kitchenapi.Event, error) {
	return t.step(CancelPending, Cancelled, "cancelled", kitchenapi.Cancelled{})
}

// UndoCancel goes on as before.
func (t *Ticket) UndoCancel() ([]kitchenapi.Event, error) {
	t.release(CancelPending)
	return nil, nil
}

// BeginRevise holds the ticket, with items proposed, until the revision is
// confirmed or undone.
func (t *Ticket) BeginRevise(items []kitchenapi.TicketItem) ([]kitchenapi.Event, error) {
	if err := t.hold(RevisionPending, "revised"); err != nil {
		return nil, err
	}
	t.Proposed = items
	return nil, nil
}

// ConfirmRevise replaces the items by those proposed.
func (t *Ticket) ConfirmRevise() ([]kitchenapi.Event, error) {
	if t.Status != RevisionPending {
		return nil, nil
	}
	t.Items = t.Proposed
	t.release(RevisionPending)
	return []kitchenapi.Event{kitchenapi.Revised{}}, nil
}

// UndoRevise goes on as before.
func (t *Ticket) UndoRevise() ([]kitchenapi.Event, error) {
	t.release(RevisionPending)
	return nil, nil
}

func (t *Ticket) step(from, to Status, asked string, e kitchenapi.Event) ([]kitchenapi.Event, error) {
	switch t.Status {
	case from:
		t.Status = to
		return []kitchenapi.Event{e}, nil
	case to:
		return nil, nil
	default:
		return nil, &StateError{Status: t.Status, Asked: asked}
	}
}

func (t *Ticket) hold(pending Status, asked string) error {
	switch t.Status {
	case AwaitingAcceptance, Accepted:
		t.Before, t.Status = t.Status, pending
		return nil
	case pending:
		return nil
	default:
		return &StateError{Status: t.Status, Asked: asked}
	}
}

func (t *Ticket) release(pending Status) {
	if t.Status == pending {
		t.Status, t.Before, t.Proposed = t.Before, "", nil
	}
}
