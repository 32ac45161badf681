package domain

import (
	"fmt"

	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/examples/ftgo/accounting/accountingapi"
)

// Account is a consumer's account. The zero Account is not opened yet.
type Account struct {
	Opened      bool
	CardToken   string // empty: none
	CardVersion int64  // 0: none
}

// Accounts is the account aggregate. An account lives as long as its consumer.
var Accounts = eventsource.Decider[Account, AccountCommand, accountingapi.AccountEvent]{
	Category: accountingapi.AccountCategory,
	Codec:    accountingapi.AccountCodec,
	Evolve:   evolveAccount,
	Decide:   decideAccount,
	Snapshot: eventsource.Snapshot{Every: 50, Schema: 1},
}

// AccountCommand is what can be asked of an account.
type AccountCommand interface{ accountCommand() }

// OpenAccount opens an account, with a card or without.
type OpenAccount struct {
	CardToken   string
	CardVersion int64
}

// ReplaceCard makes another card the account's, unless it knows a newer one.
type ReplaceCard struct {
	CardToken   string
	CardVersion int64
}

func (OpenAccount) accountCommand() {}
func (ReplaceCard) accountCommand() {}

func evolveAccount(a Account, e accountingapi.AccountEvent) Account {
	switch e := e.(type) {
	case accountingapi.AccountOpened:
		return Account{Opened: true, CardToken: e.CardToken, CardVersion: e.CardVersion}
	case accountingapi.CardReplaced:
		a.CardToken, a.CardVersion = e.CardToken, e.CardVersion
	}
	return a
}

func decideAccount(a Account, c AccountCommand) ([]accountingapi.AccountEvent, error) {
	switch c := c.(type) {
	case OpenAccount:
		if a.Opened {
			return nil, nil
		}
		return []accountingapi.AccountEvent{accountingapi.AccountOpened(c)}, nil
	case ReplaceCard:
		if c.CardVersion <= a.CardVersion {
			return nil, nil
		}
		return []accountingapi.AccountEvent{accountingapi.CardReplaced(c)}, nil
	}
	return nil, fmt.Errorf("account: unknown command %T", c)
}
