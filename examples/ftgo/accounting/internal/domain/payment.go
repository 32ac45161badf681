package domain

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/examples/ftgo/accounting/accountingapi"
)

// PaymentStatus is where a payment stands.
type PaymentStatus uint8

// The statuses; see the package comment for the ways between them.
const (
	NoPayment PaymentStatus = iota
	Authorized
	Refused
	Reversed
)

// Payment is the payment of an order. The zero Payment is none yet.
type Payment struct {
	Status     PaymentStatus
	ConsumerID string
	Total      int64 // minor units
	Currency   string
	Reason     string // of a refusal
}

// Payments is the payment aggregate.
var Payments = eventsource.Decider[Payment, PaymentCommand, accountingapi.PaymentEvent]{
	Category: accountingapi.PaymentCategory,
	Codec:    accountingapi.PaymentCodec,
	Evolve:   evolvePayment,
	Decide:   decidePayment,
}

// PaymentCommand is what can be asked of a payment.
type PaymentCommand interface{ paymentCommand() }

// Authorize asks to hold a total on an account's card. The decision is the
// state it leaves: Authorized, or Refused with a Reason.
type Authorize struct {
	ConsumerID string
	Account    Account
	Total      int64
	Currency   string
}

// Revise asks to hold another total on the account's card. It returns a
// *RefusedError when the card does not cover it.
type Revise struct {
	Account Account
	Total   int64
}

// Reverse lets go what is held and refuses what is asked for later.
type Reverse struct{}

func (Authorize) paymentCommand() {}
func (Revise) paymentCommand()    {}
func (Reverse) paymentCommand()   {}

// RefusedError says why a card does not cover a total.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "the payment is refused: " + e.Reason }

// AuthorizationClosed is the reason of a refusal after a reversal.
const AuthorizationClosed = "AUTHORIZATION_CLOSED"

func evolvePayment(p Payment, e accountingapi.PaymentEvent) Payment {
	switch e := e.(type) {
	case accountingapi.PaymentAuthorized:
		return Payment{Status: Authorized, ConsumerID: e.ConsumerID, Total: e.Total, Currency: e.Currency}
	case accountingapi.PaymentRefused:
		return Payment{Status: Refused, ConsumerID: e.ConsumerID, Reason: e.Reason}
	case accountingapi.AuthorizationRevised:
		p.Total = e.Total
	case accountingapi.AuthorizationReversed:
		p.Status = Reversed
	}
	return p
}

func decidePayment(p Payment, c PaymentCommand) ([]accountingapi.PaymentEvent, error) {
	switch c := c.(type) {
	case Authorize:
		return authorize(p, c), nil
	case Revise:
		return revise(p, c)
	case Reverse:
		if p.Status == Reversed {
			return nil, nil
		}
		return []accountingapi.PaymentEvent{accountingapi.AuthorizationReversed{}}, nil
	}
	return nil, fmt.Errorf("payment: unknown command %T", c)
}

func authorize(p Payment, c Authorize) []accountingapi.PaymentEvent {
	if p.Status != NoPayment {
		return nil
	}
	if reason := refusal(c.Account, c.Total); reason != "" {
		return []accountingapi.PaymentEvent{accountingapi.PaymentRefused{ConsumerID: c.ConsumerID, Reason: reason}}
	}
	return []accountingapi.PaymentEvent{accountingapi.PaymentAuthorized{ConsumerID: c.ConsumerID, Total: c.Total, Currency: c.Currency}}
}

func revise(p Payment, c Revise) ([]accountingapi.PaymentEvent, error) {
	if p.Status != Authorized {
		return nil, &RefusedError{Reason: AuthorizationClosed}
	}
	if p.Total == c.Total {
		return nil, nil
	}
	if reason := refusal(c.Account, c.Total); reason != "" {
		return nil, &RefusedError{Reason: reason}
	}
	return []accountingapi.PaymentEvent{accountingapi.AuthorizationRevised{Total: c.Total}}, nil
}

// okLimit is what the card "ok" covers an order: 500.00.
const okLimit = 500_00

// refusal returns why the account's card does not cover total, or "".
func refusal(a Account, total int64) string {
	limit, isLimit := strings.CutPrefix(a.CardToken, "limit-")
	switch {
	case a.CardToken == "":
		return accountingapi.CardMissing
	case a.CardToken == "ok":
		return over(total, okLimit)
	case isLimit:
		n, err := strconv.ParseInt(limit, 10, 64)
		if err != nil {
			return accountingapi.CardExpired
		}
		return over(total, n)
	default:
		return accountingapi.CardExpired
	}
}

func over(total, limit int64) string {
	if total > limit {
		return accountingapi.CardLimit
	}
	return ""
}
