package kitchen

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"testing"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/contract"
	"github.com/cleave-go/cleave/contract/contracttest"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/internal/commands"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/internal/menus"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/internal/tickets"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/kitchenapi"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant/restaurantapi"
	_ "github.com/cleave-go/cleave/kit" // the database driver
	"github.com/cleave-go/cleave/saga"
	"github.com/cleave-go/cleave/sqldb"
)

func openKitchen(t *testing.T) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "kitchen.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := errors.Join(sqlstore.Setup(t.Context(), db), db.Migrate(t.Context(), migrations)); err != nil {
		t.Fatal(err)
	}
	return db
}

// What consumers' contracts ask for.
type (
	aRestaurant struct {
		ID          string `json:"id"`
		MenuItemID  string `json:"menuItemId"`
		MenuVersion int64  `json:"menuVersion"`
	}
	aTicket struct {
		OrderID string `json:"orderId"`
	}
)

// states sets up what the contracts begin with, by the ways the kitchen learns
// of it.
func states(db *sqldb.DB) []contract.Option {
	return []contract.Option{
		contract.State("a restaurant offers", func(ctx context.Context, p aRestaurant) error {
			r, err := restaurantapi.Codec.Encode(restaurantapi.Created{
				Name: "Ajanta", MenuVersion: p.MenuVersion, Menu: []restaurantapi.PricedDish{{ID: p.MenuItemID, Name: "a dish", Price: 1200, Currency: "USD"}},
			})
			if err != nil {
				return err
			}
			r.Stream = event.Stream{Category: restaurantapi.Category, ID: p.ID}
			return db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
				return menus.Projection().Apply(ctx, tx, bus.Message{Source: "restaurant", Record: r})
			})
		}),
		contract.State("a ticket is pending", func(ctx context.Context, p aTicket) error {
			return db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
				return tickets.Create(ctx, tx, tickets.Ticket{OrderID: p.OrderID, RestaurantID: "restaurant-1", ConsumerID: "consumer-1"})
			})
		}),
	}
}

// handles carries a command out as the participant does: in a transaction that
// a refusal takes back.
func handles(db *sqldb.DB, h saga.Handler) contract.Option {
	return contract.Handles(h.Command(), func(ctx context.Context, req json.RawMessage) (rep json.RawMessage, err error) {
		err = db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
			rep, err = h.CarryOut(ctx, tx, req)
			return err
		})
		if refusal, ok := errors.AsType[*saga.Refusal](err); ok {
			return nil, &contract.Refusal{Code: refusal.Code, Message: refusal.Message}
		}
		return rep, err
	})
}

func TestKitchenKeepsItsContracts(t *testing.T) {
	db := openKitchen(t)
	options := append(states(db), contract.Dir("contracts"))
	for _, h := range commands.Handlers() {
		options = append(options, handles(db, h))
	}
	contract.Verify(t, "kitchen", options...)
}

func TestKitchenThatCannotReadACommandBreaksItsContract(t *testing.T) {
	type renamed struct {
		Order string `json:"order"` // the consumer calls it orderId
	}
	db := openKitchen(t)
	options := append(states(db), contract.Dir("contracts"))
	for _, h := range commands.Handlers() {
		options = append(options, handles(db, h))
	}
	options = append(options, handles(db, saga.Handle(saga.Endpoint[renamed, kitchenapi.Done]{Service: "kitchen", Command: "create-ticket"},
		func(_ context.Context, _ sqldb.Tx, cmd renamed) (kitchenapi.Done, error) {
			if cmd.Order == "" {
				return kitchenapi.Done{}, saga.Refuse("ORDER_MISSING", "which order?")
			}
			return kitchenapi.Done{}, nil
		})))
	broken := contracttest.Run("TestKitchen", func(t *contracttest.T) { contract.Verify(t, "kitchen", options...) })
	want := `contract: kitchen does not keep what order expects in "create-ticket" (order-kitchen.json, recorded by order.TestSagaIsUndoneWhenTheKitchenRefuses):
path           expected              actual           rule
metadata code  'RESTAURANT_REFUSED'  'ORDER_MISSING'  equality

contract: kitchen does not keep what order expects in "create-ticket" (order-kitchen.json, recorded by order.TestSagaCancelsTheTicketWhenTheCardIsRefused):
path              expected  actual     rule
metadata outcome  'done'    'refused'  equality
$                 {}        empty      equality
`
	if broken.Output() != want {
		t.Errorf("said\n%s\nwant\n%s", broken.Output(), want)
	}
}
