package accountingapi

import "github.com/cleave-go/cleave/event"

// AccountEvent is what happens to a consumer's account.
type AccountEvent interface{ accountEvent() }

// AccountOpened says that a consumer has an account.
type AccountOpened struct {
	CardToken   string `json:"cardToken,omitempty"` // empty: no card yet
	CardVersion int64  `json:"cardVersion"`
}

// CardReplaced says with which card the account pays from now on.
type CardReplaced struct {
	CardToken   string `json:"cardToken"`
	CardVersion int64  `json:"cardVersion"`
}

func (AccountOpened) accountEvent() {}
func (CardReplaced) accountEvent()  {}

// PaymentEvent is what happens to the payment of an order.
type PaymentEvent interface{ paymentEvent() }

// PaymentAuthorized says that an order's total is held on the consumer's card.
type PaymentAuthorized struct {
	ConsumerID string `json:"consumerId"`
	Total      int64  `json:"total"` // minor units
	Currency   string `json:"currency"`
}

// PaymentRefused says why it is not.
type PaymentRefused struct {
	ConsumerID string `json:"consumerId"`
	Reason     string `json:"reason"`
}

// AuthorizationRevised says that another total is held.
type AuthorizationRevised struct {
	Total int64 `json:"total"`
}

// AuthorizationReversed says that nothing is held, now or later.
type AuthorizationReversed struct{}

func (PaymentAuthorized) paymentEvent()     {}
func (PaymentRefused) paymentEvent()        {}
func (AuthorizationRevised) paymentEvent()  {}
func (AuthorizationReversed) paymentEvent() {}

// The categories of streams: an account's id is its consumer's, a payment's its order's.
const (
	AccountCategory = "account"
	PaymentCategory = "payment"
)

// AccountCodec and PaymentCodec name the events on the wire.
var (
	AccountCodec = event.NewCodec[AccountEvent](
		event.Of[AccountOpened]("account.opened", 1),
		event.Of[CardReplaced]("account.card-replaced", 1),
	)
	PaymentCodec = event.NewCodec[PaymentEvent](
		event.Of[PaymentAuthorized]("payment.authorized", 1),
		event.Of[PaymentRefused]("payment.refused", 1),
		event.Of[AuthorizationRevised]("payment.authorization-revised", 1),
		event.Of[AuthorizationReversed]("payment.authorization-reversed", 1),
	)
)
