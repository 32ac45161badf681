package domain_test

import (
	"errors"
	"testing"

	"github.com/cleave-go/cleave/eventsource/eventsourcetest"
	"github.com/cleave-go/cleave/examples/ftgo/accounting/accountingapi"
	"github.com/cleave-go/cleave/examples/ftgo/accounting/internal/domain"
)

func card(token string) domain.Account {
	return domain.Account{Opened: true, CardToken: token, CardVersion: 1}
}

func authorize(token string, total int64) domain.Authorize {
	return domain.Authorize{ConsumerID: "c", Account: card(token), Total: total, Currency: "USD"}
}

func TestAccountKnowsTheNewestCard(t *testing.T) {
	spec := eventsourcetest.For(t, domain.Accounts)
	opened := accountingapi.AccountOpened{CardToken: "ok", CardVersion: 1}
	spec.Given().When(domain.OpenAccount{CardToken: "ok", CardVersion: 1}).Then(opened)
	spec.Given(opened).When(domain.OpenAccount{CardToken: "ok", CardVersion: 1}).Then()
	spec.Given(opened).When(domain.ReplaceCard{CardToken: "expired", CardVersion: 2}).Then(accountingapi.CardReplaced{CardToken: "expired", CardVersion: 2})
	spec.Given(opened, accountingapi.CardReplaced{CardToken: "expired", CardVersion: 3}).When(domain.ReplaceCard{CardToken: "ok", CardVersion: 2}).Then()
}

func TestSnapshotsOfAccountsStayRight(t *testing.T) {
	eventsourcetest.SnapshotEquals(t, domain.Accounts, "testdata", []accountingapi.AccountEvent{
		accountingapi.AccountOpened{CardToken: "ok", CardVersion: 1},
		accountingapi.CardReplaced{CardToken: "expired", CardVersion: 2},
		accountingapi.CardReplaced{CardToken: "ok", CardVersion: 3},
	})
}

func TestCardsCoverWhatTheyCover(t *testing.T) {
	spec := eventsourcetest.For(t, domain.Payments)
	held := func(total int64) accountingapi.PaymentEvent {
		return accountingapi.PaymentAuthorized{ConsumerID: "c", Total: total, Currency: "USD"}
	}
	refused := func(reason string) accountingapi.PaymentEvent {
		return accountingapi.PaymentRefused{ConsumerID: "c", Reason: reason}
	}
	spec.Given().When(authorize("ok", 500_00)).Then(held(500_00))
	spec.Given().When(authorize("ok", 500_01)).Then(refused(accountingapi.CardLimit))
	spec.Given().When(authorize("limit-1000", 1000)).Then(held(1000))
	spec.Given().When(authorize("limit-1000", 1001)).Then(refused(accountingapi.CardLimit))
	spec.Given().When(authorize("expired", 1)).Then(refused(accountingapi.CardExpired))
	spec.Given().When(authorize("", 1)).Then(refused(accountingapi.CardMissing))
	spec.Given(held(1)).When(authorize("ok", 1)).Then()
}

func TestPaymentIsRevisedAndReversed(t *testing.T) {
	spec := eventsourcetest.For(t, domain.Payments)
	held := accountingapi.PaymentAuthorized{ConsumerID: "c", Total: 100, Currency: "USD"}
	spec.Given(held).When(domain.Revise{Account: card("ok"), Total: 200}).Then(accountingapi.AuthorizationRevised{Total: 200})
	spec.Given(held).When(domain.Revise{Account: card("ok"), Total: 100}).Then()
	spec.Given(held).When(domain.Reverse{}).Then(accountingapi.AuthorizationReversed{})
	spec.Given(held, accountingapi.AuthorizationReversed{}).When(domain.Reverse{}).Then()
	spec.Given().When(domain.Reverse{}).Then(accountingapi.AuthorizationReversed{})
	spec.Given(accountingapi.AuthorizationReversed{}).When(authorize("ok", 1)).Then()
}

func TestRevisionsAreRefused(t *testing.T) {
	held := domain.Payment{Status: domain.Authorized, ConsumerID: "c", Total: 100, Currency: "USD"}
	for _, tt := range []struct {
		name    string
		payment domain.Payment
		revise  domain.Revise
		reason  string
	}{
		{"over the limit", held, domain.Revise{Account: card("limit-150"), Total: 151}, accountingapi.CardLimit},
		{"on an expired card", held, domain.Revise{Account: card("expired"), Total: 101}, accountingapi.CardExpired},
		{"of what was reversed", domain.Payment{Status: domain.Reversed}, domain.Revise{Account: card("ok"), Total: 1}, domain.AuthorizationClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := domain.Payments.Decide(tt.payment, tt.revise)
			var refused *domain.RefusedError
			if !errors.As(err, &refused) || refused.Reason != tt.reason {
				t.Errorf("got %v, want a refusal with %s", err, tt.reason)
			}
		})
	}
}
