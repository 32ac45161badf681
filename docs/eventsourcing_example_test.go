package docs_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"testing"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/event/eventtest"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/eventsourcetest"
	"github.com/cleave-go/cleave/eventsource/memstore"
	"github.com/cleave-go/cleave/sqldb"
)

// What happens to an account, as a sealed interface.
type AccountEvent interface{ accountEvent() }

type (
	Opened    struct{ Owner, Currency string }
	Deposited struct{ Cents int64 }
	Withdrawn struct{ Cents int64 }
	Closed    struct{ Balance int64 } // the books of a year
)

func (Opened) accountEvent()    {}
func (Deposited) accountEvent() {}
func (Withdrawn) accountEvent() {}
func (Closed) accountEvent()    {}

// openedV1 is what Opened was before there were currencies.
type openedV1 struct{ Owner string }

var AccountCodec = event.NewCodec[AccountEvent](
	event.Of[Opened]("account.opened", 2, event.Up(1, func(o openedV1) Opened { return Opened{o.Owner, "USD"} })),
	event.Of[Deposited]("account.deposited", 1),
	event.Of[Withdrawn]("account.withdrawn", 1),
	event.Of[Closed]("account.closed", 1),
)

type Account struct {
	Owner   string
	Balance int64
}

type Withdraw struct{ Cents int64 }

var ErrTooMuch = errors.New("the account does not hold that much")

var Accounts = eventsource.Decider[Account, Withdraw, AccountEvent]{
	Category: "account",
	Codec:    AccountCodec,
	Evolve: func(a Account, e AccountEvent) Account {
		switch e := e.(type) {
		case Opened:
			a.Owner = e.Owner
		case Deposited:
			a.Balance += e.Cents
		case Withdrawn:
			a.Balance -= e.Cents
		case Closed:
			a.Balance = e.Balance
		}
		return a
	},
	Decide: func(a Account, c Withdraw) ([]AccountEvent, error) {
		if c.Cents > a.Balance {
			return nil, ErrTooMuch
		}
		return []AccountEvent{Withdrawn(c)}, nil
	},
	Snapshot: eventsource.Snapshot{Every: 100, Schema: 1},
}

// A command, its errors, and the same command again.
func Example_commands() {
	ctx := context.Background()
	accounts := eventsource.NewRepository(memstore.New(), Accounts)
	_, err := accounts.Do(ctx, "7", func(Account) ([]AccountEvent, error) {
		return []AccountEvent{Opened{"ana", "EUR"}, Deposited{500}}, nil
	})
	if err != nil {
		log.Fatal(err)
	}

	commit, err := accounts.Handle(ctx, "7", Withdraw{200}, eventsource.Idempotent("request-81"))
	switch {
	case errors.Is(err, ErrTooMuch):
		fmt.Println("refused by Decide")
	case errors.Is(err, eventsource.ErrConflict):
		fmt.Println("four attempts met other writers")
	case err == nil:
		fmt.Println("done, version", commit.Version)
	}

	again, err := accounts.Handle(ctx, "7", Withdraw{200}, eventsource.Idempotent("request-81"))
	fmt.Println("again:", again.Version, again.Replayed, err)
	// Output:
	// done, version 3
	// again: 3 true <nil>
}

// What an account was.
func Example_past() {
	ctx := context.Background()
	accounts := eventsource.NewRepository(memstore.New(), Accounts)
	for _, e := range []AccountEvent{Opened{"ana", "EUR"}, Deposited{500}, Withdrawn{200}} {
		if _, err := accounts.Do(ctx, "7", func(Account) ([]AccountEvent, error) { return []AccountEvent{e}, nil }); err != nil {
			log.Fatal(err)
		}
	}

	before, err := accounts.LoadAt(ctx, "7", eventsource.AtVersion(2))
	fmt.Println(before.State.Balance, err)
	yesterday, err := accounts.LoadAt(ctx, "7", eventsource.AtTime(time.Now().Add(-24*time.Hour)))
	fmt.Println(yesterday.Version, err)
	// Output:
	// 500 <nil>
	// 0 <nil>
}

// The books of a year are closed: the events before are not needed any more.
func Example_truncate() {
	ctx := context.Background()
	store := memstore.New()
	yearly := Accounts
	yearly.Begins = func(e AccountEvent) bool { _, closed := e.(Closed); return closed }
	accounts := eventsource.NewRepository(store, yearly)
	for _, e := range []AccountEvent{Deposited{500}, Withdrawn{200}, Closed{300}, Deposited{5}} {
		if _, err := accounts.Do(ctx, "7", func(Account) ([]AccountEvent, error) { return []AccountEvent{e}, nil }); err != nil {
			log.Fatal(err)
		}
	}

	if err := accounts.Truncate(ctx, "7", 3); err != nil { // refused if nothing stood for what goes
		log.Fatal(err)
	}
	seen := event.Position(4) // by every relay, consumer and view
	n, err := store.Purge(ctx, event.Stream{Category: "account", ID: "7"}, seen)
	fmt.Println("purged", n, err)

	loaded, err := accounts.Load(ctx, "7")
	fmt.Println(loaded.State.Balance, loaded.Version, err)
	// Output:
	// purged 2 <nil>
	// 305 4 <nil>
}

// Two aggregates, or an aggregate and a table, in one transaction.
func transfer(ctx context.Context, db *sqldb.DB, accounts *eventsource.Repository[Account, Withdraw, AccountEvent], from, to string, cents int64) error {
	return db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		in := accounts.In(tx)
		if _, err := in.Handle(ctx, from, Withdraw{cents}); err != nil {
			return err
		}
		_, err := in.Do(ctx, to, func(Account) ([]AccountEvent, error) { return []AccountEvent{Deposited{cents}}, nil })
		return err
	})
}

var _ = transfer

// A dispute is over: nothing may be recorded of the account any more.
func Example_archive() {
	ctx := context.Background()
	store := memstore.New()
	accounts := eventsource.NewRepository(store, Accounts)
	open := func(Account) ([]AccountEvent, error) { return []AccountEvent{Opened{"ana", "EUR"}}, nil }
	if _, err := accounts.Do(ctx, "7", open); err != nil {
		log.Fatal(err)
	}

	if err := store.Archive(ctx, event.Stream{Category: "account", ID: "7"}); err != nil {
		log.Fatal(err)
	}
	_, err := accounts.Do(ctx, "7", open)
	var archived *eventsource.ArchivedError
	fmt.Println(errors.As(err, &archived))
	// Output: true
}

func TestWithdraw(t *testing.T) {
	spec := eventsourcetest.For(t, Accounts)
	spec.Given(Deposited{500}).When(Withdraw{500}).Then(Withdrawn{500})
	spec.Given(Deposited{500}).When(Withdraw{501}).ThenError(ErrTooMuch)
}

func TestSnapshotsStayRight(t *testing.T) {
	eventsourcetest.SnapshotEquals(t, Accounts, "testdata",
		[]AccountEvent{Opened{"ana", "EUR"}, Deposited{500}, Withdrawn{200}, Closed{300}})
}

func TestEventsAreFrozen(t *testing.T) {
	eventtest.Frozen(t, AccountCodec, "testdata/events")
}
