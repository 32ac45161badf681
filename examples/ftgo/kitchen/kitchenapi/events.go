package kitchenapi

import (
	"time"

	"github.com/cleave-go/cleave/event"
)

// Event is what happens to a ticket. Only what others may count on is told:
// a ticket that is pending or was never confirmed is nobody else's business.
type Event interface{ ticketEvent() }

// Created says that a confirmed ticket awaits the restaurant's acceptance.
type Created struct {
	RestaurantID string `json:"restaurantId"`
	ConsumerID   string `json:"consumerId"`
}

// Accepted says when the restaurant will be ready.
type Accepted struct {
	RestaurantID string    `json:"restaurantId"`
	ReadyBy      time.Time `json:"readyBy"`
}

// PreparationStarted says that it is too late to cancel.
type PreparationStarted struct{}

// PreparationCompleted says that a courier may come.
type PreparationCompleted struct{}

// PickedUp says that the food has left the kitchen.
type PickedUp struct{}

// Cancelled says that the restaurant will not prepare the order.
type Cancelled struct{}

// Revised says that other line items are to be prepared.
type Revised struct{}

func (Created) ticketEvent()              {}
func (Accepted) ticketEvent()             {}
func (PreparationStarted) ticketEvent()   {}
func (PreparationCompleted) ticketEvent() {}
func (PickedUp) ticketEvent()             {}
func (Cancelled) ticketEvent()            {}
func (Revised) ticketEvent()              {}

// Category is the category of tickets' streams; a stream's id is the order's.
const Category = "ticket"

// Codec names the events on the wire.
var Codec = event.NewCodec[Event](
	event.Of[Created]("ticket.created", 1),
	event.Of[Accepted]("ticket.accepted", 1),
	event.Of[PreparationStarted]("ticket.preparation-started", 1),
	event.Of[PreparationCompleted]("ticket.preparation-completed", 1),
	event.Of[PickedUp]("ticket.picked-up", 1),
	event.Of[Cancelled]("ticket.cancelled", 1),
	event.Of[Revised]("ticket.revised", 1),
)
