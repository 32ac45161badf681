package saga_test

import (
	"context"
	"fmt"
	"time"

	"github.com/cleave-go/cleave/saga"
	"github.com/cleave-go/cleave/sqldb"
)

func Example() {
	type trip struct{ ID, Room string }
	type request struct{ Trip string }
	type booking struct{ Room string }

	book := saga.Endpoint[request, booking]{Service: "hotel", Command: "book-room"}
	cancel := saga.Endpoint[request, struct{}]{Service: "hotel", Command: "cancel-room"}
	pay := saga.Endpoint[request, struct{}]{Service: "bank", Command: "pay"}

	plan := saga.Define("plan-trip",
		saga.Call("room", book, func(t *trip) request { return request{t.ID} }, func(t *trip, b booking) { t.Room = b.Room }).
			Undo(saga.Command(cancel, func(t *trip, _ saga.Failure) request { return request{t.ID} })).
			Timeout(10*time.Second),
		saga.Call("payment", pay, func(t *trip) request { return request{t.ID} }, nil).Pivot(),
		saga.Local("confirm", func(ctx context.Context, tx sqldb.Tx, t *trip) error {
			_, err := tx.ExecContext(ctx, "UPDATE trips SET room = ? WHERE id = ?", t.Room, t.ID)
			return err
		}),
	)

	// Package sagatest does this in a test.
	dry, err := plan.Dry(trip{ID: "t1"})
	if err != nil {
		panic(err)
	}
	answers := map[string]error{"bank/pay": saga.Refuse("NO_MONEY", "the account is empty")}
	for !dry.Status().State.Ended() {
		a := dry.Pending()[0]
		fmt.Println(a, answers[a.String()])
		if err := dry.Answer(a, booking{"12a"}, answers[a.String()]); err != nil {
			panic(err)
		}
	}
	fmt.Println(dry.Status().State, "because of", dry.Status().Failure.Code)
	// Output:
	// hotel/book-room <nil>
	// bank/pay refused: NO_MONEY: the account is empty
	// hotel/cancel-room <nil>
	// rolled-back because of NO_MONEY
}
