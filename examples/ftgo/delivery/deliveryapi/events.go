package deliveryapi

import (
	"time"

	"github.com/cleave-go/cleave/event"
)

// Event is what happens to a delivery.
type Event interface{ deliveryEvent() }

// Scheduled says who picks the order up, and when.
type Scheduled struct {
	CourierID  string    `json:"courierId"`
	PickUpTime time.Time `json:"pickUpTime"`
}

// PickedUp says that the courier has the food.
type PickedUp struct {
	CourierID string `json:"courierId"`
}

// Delivered says that the consumer has it.
type Delivered struct {
	CourierID string `json:"courierId"`
}

// Cancelled says that nobody will come.
type Cancelled struct{}

func (Scheduled) deliveryEvent() {}
func (PickedUp) deliveryEvent()  {}
func (Delivered) deliveryEvent() {}
func (Cancelled) deliveryEvent() {}

// Category is the category of deliveries' streams; a stream's id is the order's.
const Category = "delivery"

// Codec names the events on the wire.
var Codec = event.NewCodec[Event](
	event.Of[Scheduled]("delivery.scheduled", 1),
	event.Of[PickedUp]("delivery.picked-up", 1),
	event.Of[Delivered]("delivery.delivered", 1),
	event.Of[Cancelled]("delivery.cancelled", 1),
)
