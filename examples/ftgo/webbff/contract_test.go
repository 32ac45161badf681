package webbff

import (
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/contract"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
	"github.com/cleave-go/cleave/graphql"
)

// The contract of the web BFF with the order service lies with the latter.
var withOrder = &contract.Options{Dir: "../order/contracts"}

// What the order service sets up before it answers.
type (
	anOrder struct {
		ID         string `json:"id"`
		ConsumerID string `json:"consumerId,omitempty"`
	}
	aRejectedOrder struct {
		ID         string `json:"id"`
		ConsumerID string `json:"consumerId"`
		Reason     string `json:"reason"`
	}
	aRestaurant struct {
		ID         string `json:"id"`
		MenuItemID string `json:"menuItemId"`
	}
)

// ask executes a document of the web BFF's graph against what c expects.
func ask(t *testing.T, c *contract.Contract, document string) *graphql.Response {
	t.Helper()
	schema, err := graphql.Load(graph, &graphql.Options{Client: func(string) *connect.Client { return c.Client() }})
	if err != nil {
		t.Fatal(err)
	}
	ctx := auth.With(t.Context(), auth.Principal{Subject: "consumer-1", Roles: []string{"consumer"}}, "token")
	return schema.Execute(ctx, graphql.Request{Query: document})
}

func answers(t *testing.T, got *graphql.Response, want string) {
	t.Helper()
	if len(got.Errors) > 0 {
		t.Fatalf("errors: %v", got.Errors)
	}
	if string(got.Data) != want {
		t.Errorf("answered\n%s\nwant\n%s", got.Data, want)
	}
}

func exampleOrder() *orderapi.Order {
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return &orderapi.Order{
		Id: "order-1", Status: orderapi.OrderStatus_APPROVED, PlacedAt: timestamppb.New(noon),
		ConsumerId: "consumer-1", RestaurantId: "restaurant-1",
		LineItems: []*orderapi.OrderLineItem{{
			MenuItemId: "vindaloo", Name: "Chicken Vindaloo", Price: &orderapi.Money{Amount: 1200, Currency: "USD"}, Quantity: 2,
		}},
		Total:           &orderapi.Money{Amount: 2400, Currency: "USD"},
		DeliveryAddress: &orderapi.Address{Street1: "1 High Street", Street2: "2nd floor", City: "Oakland", State: "CA", Zip: "94612"},
		DeliveryTime:    timestamppb.New(noon.Add(time.Hour)),
	}
}

func TestOrderIsShown(t *testing.T) {
	c := contract.New(t, "webbff", "order", withOrder)
	want := exampleOrder()
	contract.Unary(c, orderapi.OrderServiceGetOrderProcedure, &orderapi.GetOrderRequest{Id: "order-1"}).
		Given("an order was approved", anOrder{ID: "order-1", ConsumerID: "consumer-1"}).
		Returns(want, contract.Exactly(&want.Id), contract.Exactly(&want.Status), contract.Exactly(&want.ConsumerId),
			contract.Regex(&want.Total.Currency, "[A-Z]{3}"))

	got := ask(t, c, `{ order(id: "order-1") { id status placedAt total { amount currency } deliveryTime
		lineItems { menuItemId name price { amount currency } quantity } deliveryAddress { street1 street2 city state zip } } }`)
	answers(t, got, `{"order":{"id":"order-1","status":"APPROVED","placedAt":"2026-03-01T12:00:00Z","total":{"amount":2400,"currency":"USD"},`+
		`"deliveryTime":"2026-03-01T13:00:00Z","lineItems":[{"menuItemId":"vindaloo","name":"Chicken Vindaloo","price":{"amount":1200,"currency":"USD"},"quantity":2}],`+
		`"deliveryAddress":{"street1":"1 High Street","street2":"2nd floor","city":"Oakland","state":"CA","zip":"94612"}}}`)
}

func TestRejectedOrderSaysWhy(t *testing.T) {
	c := contract.New(t, "webbff", "order", withOrder)
	want := &orderapi.Order{Id: "order-2", Status: orderapi.OrderStatus_REJECTED, RejectionReason: "CARD_EXPIRED"}
	contract.Unary(c, orderapi.OrderServiceGetOrderProcedure, &orderapi.GetOrderRequest{Id: "order-2"}).
		Given("an order was rejected", aRejectedOrder{ID: "order-2", ConsumerID: "consumer-1", Reason: "CARD_EXPIRED"}).
		Returns(want, contract.Exactly(&want.Status), contract.Exactly(&want.RejectionReason))

	answers(t, ask(t, c, `{ order(id: "order-2") { status rejectionReason } }`), `{"order":{"status":"REJECTED","rejectionReason":"CARD_EXPIRED"}}`)
}

func TestOrderThatIsNotThereIsAnError(t *testing.T) {
	c := contract.New(t, "webbff", "order", withOrder)
	contract.Unary(c, orderapi.OrderServiceGetOrderProcedure, &orderapi.GetOrderRequest{Id: "order-3"}).
		Given("no order exists", anOrder{ID: "order-3"}).
		Fails(connect.NewError(connect.CodeNotFound, "there is no such order"))

	got := ask(t, c, `{ order(id: "order-3") { id } }`)
	if len(got.Errors) != 1 || !strings.Contains(got.Errors[0].Message, "there is no such order") {
		t.Errorf("errors: %v", got.Errors)
	}
}

func TestOrderIsPlaced(t *testing.T) {
	c := contract.New(t, "webbff", "order", withOrder)
	req := &orderapi.PlaceOrderRequest{
		ConsumerId: "consumer-1", RestaurantId: "restaurant-1", IdempotencyKey: "basket-7",
		LineItems:       []*orderapi.LineItem{{MenuItemId: "vindaloo", Quantity: 2}},
		DeliveryAddress: &orderapi.Address{Street1: "1 High Street", City: "Oakland", State: "CA", Zip: "94612"},
	}
	want := exampleOrder()
	want.Status, want.DeliveryTime, want.DeliveryAddress.Street2 = orderapi.OrderStatus_APPROVAL_PENDING, nil, ""
	contract.Unary(c, orderapi.OrderServicePlaceOrderProcedure, req).
		Given("a restaurant offers", aRestaurant{ID: "restaurant-1", MenuItemID: "vindaloo"}).
		Returns(want, contract.Exactly(&want.Status), contract.Exactly(&want.ConsumerId), contract.Exactly(&want.RestaurantId),
			contract.Exactly(&want.LineItems[0].MenuItemId), contract.Exactly(&want.LineItems[0].Quantity))

	got := ask(t, c, `mutation { placeOrder(input: {consumerId: "consumer-1", restaurantId: "restaurant-1", idempotencyKey: "basket-7",
		lineItems: [{menuItemId: "vindaloo", quantity: 2}],
		deliveryAddress: {street1: "1 High Street", city: "Oakland", state: "CA", zip: "94612"}}) { id status total { amount } } }`)
	answers(t, got, `{"placeOrder":{"id":"order-1","status":"APPROVAL_PENDING","total":{"amount":2400}}}`)
}
