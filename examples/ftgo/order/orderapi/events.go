package orderapi

import (
	"time"

	"github.com/cleave-go/cleave/event"
)

// Event is what happens to an order.
type Event interface{ orderEvent() }

// Placed says that a consumer wants an order; the CreateOrder saga decides.
type Placed struct {
	ConsumerID      string        `json:"consumerId"`
	RestaurantID    string        `json:"restaurantId"`
	RestaurantName  string        `json:"restaurantName"`
	LineItems       []OrderedItem `json:"lineItems"`
	Total           Amount        `json:"total"`
	DeliveryAddress PostalAddress `json:"deliveryAddress"`
	DeliveryTime    *time.Time    `json:"deliveryTime,omitempty"` // nil: as soon as possible
	PlacedAt        time.Time     `json:"placedAt"`
}

// Approved says that the order will be prepared and delivered.
type Approved struct{}

// Rejected says that it will not, and nothing of it is left anywhere.
type Rejected struct {
	Reason string `json:"reason"`
}

// CancellationRequested says that the CancelOrder saga decides.
type CancellationRequested struct{}

// CancellationRefused says that the order goes on.
type CancellationRefused struct {
	Reason string `json:"reason"`
}

// Cancelled says that the order is called off.
type Cancelled struct{}

// RevisionProposed says that the ReviseOrder saga decides on other line items.
type RevisionProposed struct {
	LineItems []OrderedItem `json:"lineItems"`
	Total     Amount        `json:"total"`
}

// RevisionRefused says that the order stays as it was.
type RevisionRefused struct {
	Reason string `json:"reason"`
}

// Revised says that the proposed line items replace the order's.
type Revised struct {
	LineItems []OrderedItem `json:"lineItems"`
	Total     Amount        `json:"total"`
}

// OrderedItem is one line of an order, priced when it was placed.
type OrderedItem struct {
	MenuItemID string `json:"menuItemId"`
	Name       string `json:"name"`
	Price      Amount `json:"price"`
	Quantity   int32  `json:"quantity"`
}

// Amount is money in minor units of an ISO 4217 currency.
type Amount struct {
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
}

// PostalAddress is where an order goes.
type PostalAddress struct {
	Street1 string `json:"street1"`
	Street2 string `json:"street2,omitempty"`
	City    string `json:"city"`
	State   string `json:"state"`
	Zip     string `json:"zip"`
}

func (Placed) orderEvent()                {}
func (Approved) orderEvent()              {}
func (Rejected) orderEvent()              {}
func (CancellationRequested) orderEvent() {}
func (CancellationRefused) orderEvent()   {}
func (Cancelled) orderEvent()             {}
func (RevisionProposed) orderEvent()      {}
func (RevisionRefused) orderEvent()       {}
func (Revised) orderEvent()               {}

// Category is the category of orders' streams; a stream's id is the order's.
const Category = "order"

// Codec names the events on the wire.
var Codec = event.NewCodec[Event](
	event.Of[Placed]("order.placed", 1),
	event.Of[Approved]("order.approved", 1),
	event.Of[Rejected]("order.rejected", 1),
	event.Of[CancellationRequested]("order.cancellation-requested", 1),
	event.Of[CancellationRefused]("order.cancellation-refused", 1),
	event.Of[Cancelled]("order.cancelled", 1),
	event.Of[RevisionProposed]("order.revision-proposed", 1),
	event.Of[RevisionRefused]("order.revision-refused", 1),
	event.Of[Revised]("order.revised", 1),
)
