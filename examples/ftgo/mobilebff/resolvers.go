package mobilebff

import (
	"context"
	"fmt"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/examples/ftgo/consumer/consumerapi"
	"github.com/cleave-go/cleave/examples/ftgo/delivery/deliveryapi"
	"github.com/cleave-go/cleave/examples/ftgo/kitchen/kitchenapi"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
	"github.com/cleave-go/cleave/examples/ftgo/orderhistory/orderhistoryapi"
	"github.com/cleave-go/cleave/examples/ftgo/restaurant/restaurantapi"
	"github.com/cleave-go/cleave/graphql"
	"github.com/cleave-go/cleave/rpi"
)

const (
	maxRecent   = 50
	quickWaitMs = 2000 // so that a phone shows the outcome without asking again
)

// screens resolves what no mapping can express.
type screens struct {
	consumers  consumerapi.ConsumerServiceClient
	orders     orderapi.OrderServiceClient
	history    orderhistoryapi.OrderHistoryServiceClient
	deliveries deliveryapi.DeliveryServiceClient
}

func newScreens(client func(service string) *connect.Client) *screens {
	return &screens{
		consumers:  consumerapi.NewConsumerServiceClient(client("consumer")),
		orders:     orderapi.NewOrderServiceClient(client("order")),
		history:    orderhistoryapi.NewOrderHistoryServiceClient(client("orderhistory")),
		deliveries: deliveryapi.NewDeliveryServiceClient(client("delivery")),
	}
}

func (s *screens) resolvers() map[string]graphql.Resolver {
	ofOrder := []string{"ticket", "delivery"}
	return map[string]graphql.Resolver{
		"Query.home":           {Resolve: each(s.home)},
		"Mutation.quickOrder":  {Resolve: each(s.quickOrder)},
		"OrderCard.title":      {Resolve: each(cardTitle), Requires: []string{"restaurant"}},
		"OrderCard.stage":      {Resolve: each(cardStage), Requires: ofOrder},
		"OrderCard.etaMinutes": {Resolve: each(cardETA), Requires: ofOrder},
		"OrderCard.totalText": {Resolve: each(func(_ context.Context, p graphql.Parent) (any, error) {
			o, err := summaryOf(p.Value())
			return price(o.total, o.unit), err
		})},
		"RestaurantCard.cheapest": {Resolve: each(func(_ context.Context, p graphql.Parent) (any, error) {
			r, ok := p.Value().(*restaurantapi.Restaurant)
			if !ok {
				return nil, fmt.Errorf("a card cannot show a %T", p.Value())
			}
			return cheapest(r), nil
		})},
	}
}

// each makes a batch resolver of one that needs no batch: its parents' values
// are at hand already.
func each(f func(context.Context, graphql.Parent) (any, error)) func(context.Context, []graphql.Parent) ([]any, error) {
	return func(ctx context.Context, parents []graphql.Parent) ([]any, error) {
		values := make([]any, len(parents))
		for i, p := range parents {
			v, err := f(ctx, p)
			if err != nil {
				v = err
			}
			values[i] = v
		}
		return values, nil
	}
}

func cardTitle(_ context.Context, p graphql.Parent) (any, error) {
	o, err := summaryOf(p.Value())
	if err != nil {
		return nil, err
	}
	return title(o, required[*restaurantapi.Restaurant](p, "restaurant")), nil
}

func cardStage(_ context.Context, p graphql.Parent) (any, error) {
	o, err := summaryOf(p.Value())
	if err != nil {
		return nil, err
	}
	return stage(o, required[*kitchenapi.Ticket](p, "ticket"), required[*deliveryapi.Delivery](p, "delivery")), nil
}

func cardETA(_ context.Context, p graphql.Parent) (any, error) {
	o, err := summaryOf(p.Value())
	if err != nil {
		return nil, err
	}
	ticket := required[*kitchenapi.Ticket](p, "ticket")
	return eta(ticket, stage(o, ticket, required[*deliveryapi.Delivery](p, "delivery")), time.Now()), nil
}

// required returns a part of the card, nil when there is none or it cannot be
// had: a card shows what is known.
func required[T any](p graphql.Parent, name string) T {
	var none T
	v, err := p.Required(name)
	if err != nil {
		return none
	}
	if part, ok := v.(T); ok {
		return part
	}
	return none
}

// home answers the whole first screen. The recent orders include the active one.
func (s *screens) home(ctx context.Context, p graphql.Parent) (any, error) {
	recent, _ := p.Args()["recent"].(int64)
	if recent < 1 || recent > maxRecent {
		return nil, rpi.InvalidField("recent", fmt.Sprintf("is %d; a screen shows 1 to %d", recent, maxRecent))
	}
	me, _ := auth.From(ctx)
	consumer, err := s.consumers.GetConsumer(ctx, &consumerapi.GetConsumerRequest{Id: me.Subject})
	if err != nil {
		return nil, err
	}
	list, err := s.history.ListOrders(ctx, &orderhistoryapi.ListOrdersRequest{ConsumerId: me.Subject, First: int32(recent)})
	if err != nil {
		return nil, err
	}
	screen := map[string]any{"greeting": "Hi " + consumer.FirstName, "recent": list.Orders}
	if active := s.active(ctx, list.Orders); active != nil {
		screen["active"] = active
	}
	return screen, nil
}

// active returns the newest order that still moves, or nil.
func (s *screens) active(ctx context.Context, orders []*orderhistoryapi.Order) *orderhistoryapi.Order {
	ids := make([]string, len(orders))
	for i, o := range orders {
		ids[i] = o.Id
	}
	delivered := map[string]*deliveryapi.Delivery{}
	if found, err := s.deliveries.BatchGet(ctx, &deliveryapi.BatchGetRequest{OrderIds: ids}); err == nil {
		for _, d := range found.Deliveries {
			delivered[d.OrderId] = d
		}
	}
	for _, o := range orders {
		if under(stage(summary{status: o.Status}, nil, delivered[o.Id])) {
			return o
		}
	}
	return nil
}

func (s *screens) quickOrder(ctx context.Context, p graphql.Parent) (any, error) {
	me, _ := auth.From(ctx)
	args := p.Args()
	req := &orderapi.PlaceOrderRequest{ConsumerId: me.Subject, RestaurantId: text(args, "restaurantId"), IdempotencyKey: text(args, "idempotencyKey"), WaitMs: quickWaitMs}
	items, _ := args["items"].([]any)
	for _, item := range items {
		fields, _ := item.(map[string]any)
		quantity, _ := fields["quantity"].(int64)
		req.LineItems = append(req.LineItems, &orderapi.LineItem{MenuItemId: text(fields, "menuItemId"), Quantity: int32(quantity)})
	}
	var err error
	if req.DeliveryAddress, err = s.address(ctx, me.Subject, args); err != nil {
		return nil, err
	}
	return s.orders.PlaceOrder(ctx, req)
}

// address returns the one that was given, or else the last order's.
func (s *screens) address(ctx context.Context, consumerID string, args map[string]any) (*orderapi.Address, error) {
	if a, ok := args["deliveryAddress"].(map[string]any); ok {
		return &orderapi.Address{Street1: text(a, "street1"), Street2: text(a, "street2"), City: text(a, "city"), State: text(a, "state"), Zip: text(a, "zip")}, nil
	}
	last, err := s.history.ListOrders(ctx, &orderhistoryapi.ListOrdersRequest{ConsumerId: consumerID, First: 1})
	if err != nil {
		return nil, err
	}
	if len(last.Orders) == 0 {
		return nil, rpi.InvalidField("deliveryAddress", "is needed with the first order")
	}
	a := last.Orders[0].GetDeliveryAddress()
	return &orderapi.Address{Street1: a.GetStreet1(), Street2: a.GetStreet2(), City: a.GetCity(), State: a.GetState(), Zip: a.GetZip()}, nil
}

func text(args map[string]any, name string) string {
	s, _ := args[name].(string)
	return s
}
