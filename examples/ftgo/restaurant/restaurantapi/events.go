package restaurantapi

import "github.com/cleave-go/cleave/event"

// Event is what happens to a restaurant.
type Event interface{ restaurantEvent() }

// Created says that a restaurant takes orders from now on.
type Created struct {
	Name        string        `json:"name"`
	Address     PostalAddress `json:"address"`
	Menu        []PricedDish  `json:"menu"`
	MenuVersion int64         `json:"menuVersion"`
}

// MenuRevised says what can be ordered from now on.
type MenuRevised struct {
	Menu        []PricedDish `json:"menu"`
	MenuVersion int64        `json:"menuVersion"` // rises by one with each menu
}

// PricedDish is one item of a menu.
type PricedDish struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Price    int64  `json:"price"` // minor units
	Currency string `json:"currency"`
}

// PostalAddress is where a restaurant is.
type PostalAddress struct {
	Street1 string `json:"street1"`
	Street2 string `json:"street2,omitempty"`
	City    string `json:"city"`
	State   string `json:"state"`
	Zip     string `json:"zip"`
}

func (Created) restaurantEvent()     {}
func (MenuRevised) restaurantEvent() {}

// Category is the category of restaurants' streams; a stream's id is the restaurant's.
const Category = "restaurant"

// Codec names the events on the wire.
var Codec = event.NewCodec[Event](
	event.Of[Created]("restaurant.created", 1),
	event.Of[MenuRevised]("restaurant.menu-revised", 1),
)
