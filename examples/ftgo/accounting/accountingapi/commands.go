package accountingapi

import "github.com/cleave-go/cleave/saga"

// The commands of the order service's sagas. Authorize and ReviseAuthorization
// are refused with CARD_MISSING, CARD_EXPIRED or CARD_LIMIT. Reverse is never
// refused: what was not authorized stays so, whatever comes later.
var (
	Authorize           = saga.Endpoint[AuthorizeCommand, Done]{Service: "accounting", Command: "authorize"}
	ReviseAuthorization = saga.Endpoint[ReviseCommand, Done]{Service: "accounting", Command: "revise-authorization"}
	Reverse             = saga.Endpoint[ReverseCommand, Done]{Service: "accounting", Command: "reverse-authorization"}
)

// The codes with which commands are refused.
const (
	CardMissing = "CARD_MISSING"
	CardExpired = "CARD_EXPIRED"
	CardLimit   = "CARD_LIMIT"
)

// AuthorizeCommand asks to authorize an order's total.
type AuthorizeCommand struct {
	OrderID    string `json:"orderId"`
	ConsumerID string `json:"consumerId"`
	Total      int64  `json:"total"` // minor units
	Currency   string `json:"currency"`
	// CardVersion is the consumer's card at least to be known before deciding.
	CardVersion int64 `json:"cardVersion"`
}

// ReviseCommand asks to authorize another total instead.
type ReviseCommand struct {
	OrderID string `json:"orderId"`
	Total   int64  `json:"total"` // minor units
}

// ReverseCommand asks to let go what was authorized.
type ReverseCommand struct {
	OrderID string `json:"orderId"`
}

// Done is the reply that says no more than that.
type Done struct{}
