package consumerapi

import "github.com/cleave-go/cleave/event"

// Event is what happens to a consumer.
type Event interface{ consumerEvent() }

// Registered says that a consumer may order from now on.
type Registered struct {
	FirstName   string `json:"firstName"`
	LastName    string `json:"lastName"`
	CardToken   string `json:"cardToken,omitempty"` // empty: no card yet
	CardVersion int64  `json:"cardVersion"`         // 0: no card yet
}

// CardChanged says with which card a consumer pays from now on.
type CardChanged struct {
	CardToken   string `json:"cardToken"`
	CardVersion int64  `json:"cardVersion"` // rises by one with each card
}

func (Registered) consumerEvent()  {}
func (CardChanged) consumerEvent() {}

// Category is the category of consumers' streams; a stream's id is the consumer's.
const Category = "consumer"

// Codec names the events on the wire.
var Codec = event.NewCodec[Event](
	event.Of[Registered]("consumer.registered", 1),
	event.Of[CardChanged]("consumer.card-changed", 1),
)
