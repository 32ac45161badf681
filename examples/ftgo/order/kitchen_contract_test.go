package order_test

import (
	"errors"
	"testing"

	"github.com/cleave-go/cleave/contract"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/memstore"
	"github.com/cleave-go/cleave/examples/ftgo/consumer/consumerapi"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/kitchenapi"
	"github.com/cleave-go/cleave/examples/ftgo/order/internal/domain"
	"github.com/cleave-go/cleave/examples/ftgo/order/internal/sagas"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
	"github.com/cleave-go/cleave/saga"
)

// The contract of the CreateOrder saga with the kitchen lies with the latter.
var withKitchen = &contract.Options{Dir: "../kitchen/contracts"}

// What the kitchen sets up before a command.
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

// createOrder carries the real saga through; the kitchen answers as c expects,
// accounting with authorized, the others yes.
func createOrder(t *testing.T, c *contract.Contract, authorized error) saga.Status {
	t.Helper()
	orders := eventsource.NewRepository(memstore.New(), domain.Decider)
	dry, err := sagas.New(orders).Create.Dry(sagas.CreateOrder{
		OrderID: "order-1", ConsumerID: "consumer-1", RestaurantID: "restaurant-1", MenuVersion: 3,
		LineItems: []kitchenapi.TicketItem{{MenuItemID: "vindaloo", Name: "Chicken Vindaloo", Quantity: 2}},
		Total:     orderapi.Amount{Amount: 2400, Currency: "USD"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for pending := dry.Pending(); len(pending) > 0; pending = dry.Pending() {
		step := pending[0]
		var reply any = struct{}{}
		var failed error
		switch step.Service {
		case "kitchen":
			rep := c.Send(step.Command, step.Request)
			reply, failed = rep.Data, rep.Err
			if refusal, ok := errors.AsType[*contract.Refusal](rep.Err); ok {
				failed = saga.Refuse(refusal.Code, refusal.Message)
			}
			if rep.Err != nil && !errors.As(rep.Err, new(*contract.Refusal)) {
				t.FailNow()
			}
		case "consumer":
			reply = consumerapi.ValidateOrderReply{CardVersion: 1}
		case "accounting":
			failed = authorized
		}
		if err := dry.Answer(step, reply, failed); err != nil {
			t.Fatal(err)
		}
	}
	return dry.Status()
}

func ticketOfTheOrder() *kitchenapi.CreateTicketCommand {
	return &kitchenapi.CreateTicketCommand{
		OrderID: "order-1", RestaurantID: "restaurant-1", ConsumerID: "consumer-1", MenuVersion: 3,
		LineItems: []kitchenapi.TicketItem{{MenuItemID: "vindaloo", Name: "Chicken Vindaloo", Quantity: 2}},
	}
}

func TestSagaCreatesAndConfirmsATicket(t *testing.T) {
	c := contract.New(t, "order", "kitchen", withKitchen)
	contract.Command(c, kitchenapi.CreateTicket.Command, ticketOfTheOrder()).
		Given("a restaurant offers", aRestaurant{"restaurant-1", "vindaloo", 3}).
		Replies(&kitchenapi.Done{})
	contract.Command(c, kitchenapi.ConfirmCreateTicket.Command, &kitchenapi.TicketCommand{OrderID: "order-1"}).
		Given("a ticket is pending", aTicket{"order-1"}).
		Replies(&kitchenapi.Done{})
	if st := createOrder(t, c, nil); st.State != saga.Completed {
		t.Errorf("the saga is %s", st.State)
	}
}

func TestSagaIsUndoneWhenTheKitchenRefuses(t *testing.T) {
	c := contract.New(t, "order", "kitchen", withKitchen)
	contract.Command(c, kitchenapi.CreateTicket.Command, ticketOfTheOrder()).
		Given("a restaurant offers", aRestaurant{"restaurant-1", "samosa", 3}).
		Refuses(kitchenapi.RestaurantRefused)
	if st := createOrder(t, c, nil); st.State != saga.RolledBack {
		t.Errorf("the saga is %s", st.State)
	}
}

func TestSagaCancelsTheTicketWhenTheCardIsRefused(t *testing.T) {
	c := contract.New(t, "order", "kitchen", withKitchen)
	contract.Command(c, kitchenapi.CreateTicket.Command, ticketOfTheOrder()).
		Given("a restaurant offers", aRestaurant{"restaurant-1", "vindaloo", 3}).
		Replies(&kitchenapi.Done{})
	contract.Command(c, kitchenapi.CancelCreateTicket.Command, &kitchenapi.TicketCommand{OrderID: "order-1"}).
		Given("a ticket is pending", aTicket{"order-1"}).
		Replies(&kitchenapi.Done{})
	if st := createOrder(t, c, saga.Refuse("CARD_EXPIRED", "the card expired in May")); st.State != saga.RolledBack {
		t.Errorf("the saga is %s", st.State)
	}
}
