package eventsource_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/eventsourcetest"
	"github.com/cleave-go/cleave/eventsource/memstore"
)

// An account: what happens to it…
type (
	Event     interface{ accountEvent() }
	Opened    struct{ Owner string }
	Deposited struct{ Cents int64 }
	Withdrawn struct{ Cents int64 }
)

func (Opened) accountEvent()    {}
func (Deposited) accountEvent() {}
func (Withdrawn) accountEvent() {}

// …what can be asked of it…
type (
	Command  interface{}
	Open     struct{ Owner string }
	Deposit  struct{ Cents int64 }
	Withdraw struct{ Cents int64 }
)

var (
	ErrNotOpen = errors.New("the account is not open")
	ErrTooMuch = errors.New("the account does not hold that much")
)

// …and two pure functions.
type State struct {
	Open    bool
	Balance int64
}

func evolve(s State, e Event) State {
	switch e := e.(type) {
	case Opened:
		s.Open = true
	case Deposited:
		s.Balance += e.Cents
	case Withdrawn:
		s.Balance -= e.Cents
	}
	return s
}

func decide(s State, c Command) ([]Event, error) {
	if open, ok := c.(Open); ok && !s.Open {
		return []Event{Opened(open)}, nil
	}
	if !s.Open {
		return nil, ErrNotOpen
	}
	switch c := c.(type) {
	case Deposit:
		return []Event{Deposited(c)}, nil
	case Withdraw:
		if c.Cents > s.Balance {
			return nil, ErrTooMuch
		}
		return []Event{Withdrawn(c)}, nil
	}
	return nil, nil
}

var Decider = eventsource.Decider[State, Command, Event]{
	Category: "account",
	Codec: event.NewCodec[Event](
		event.Of[Opened]("account.opened", 1),
		event.Of[Deposited]("account.deposited", 1),
		event.Of[Withdrawn]("account.withdrawn", 1),
	),
	Evolve: evolve,
	Decide: decide,
}

func Example() {
	ctx := context.Background()
	accounts := eventsource.NewRepository(memstore.New(), Decider)
	for _, c := range []Command{Open{"ana"}, Deposit{500}, Withdraw{200}, Withdraw{400}} {
		commit, err := accounts.Handle(ctx, "1", c)
		fmt.Println(commit.Version, err)
	}
	loaded, err := accounts.Load(ctx, "1")
	fmt.Println(loaded.State.Balance, loaded.Version, err)
	// Output:
	// 1 <nil>
	// 2 <nil>
	// 3 <nil>
	// 0 the account does not hold that much
	// 300 3 <nil>
}

func ExampleIdempotent() {
	ctx := context.Background()
	accounts := eventsource.NewRepository(memstore.New(), Decider)
	accounts.Handle(ctx, "1", Open{"ana"})
	for range 2 { // the client tries again: it did not get the answer
		commit, err := accounts.Handle(ctx, "1", Deposit{500}, eventsource.Idempotent("request-7"))
		fmt.Println(commit.Version, commit.Replayed, err)
	}
	// Output:
	// 2 false <nil>
	// 2 true <nil>
}

func TestAccount(t *testing.T) {
	spec := eventsourcetest.For(t, Decider)
	spec.Given().When(Deposit{1}).ThenError(ErrNotOpen)
	spec.Given().When(Open{"ana"}).Then(Opened{"ana"})
	spec.Given(Opened{}).When(Open{"ana"}).Then()
	spec.Given(Opened{}, Deposited{500}).When(Withdraw{500}).Then(Withdrawn{500})
	spec.Given(Opened{}, Deposited{500}).When(Withdraw{501}).ThenError(ErrTooMuch)
	spec.Given(Opened{}, Deposited{500}).When(Withdraw{200}).ThenState(func(s State) {
		if s.Balance != 300 {
			t.Errorf("the balance is %d", s.Balance)
		}
	})
}
