package acceptance_test

import (
	"crypto/rand"
	"fmt"
	"testing"
)

const (
	registerConsumer = `mutation($input: RegisterConsumerInput!) { registerConsumer(input: $input) { id firstName } }`
	createRestaurant = `mutation($input: CreateRestaurantInput!) { createRestaurant(input: $input) { id name menu { id price { amount currency } } } }`
	placeOrder       = `mutation($input: PlaceOrderInput!, $wait: Int) { placeOrder(input: $input, waitMs: $wait) { id status rejectionReason total { amount currency } } }`
	getOrder         = `query($id: ID!) { order(id: $id) { id status rejectionReason total { amount } lineItems { menuItemId quantity }
		consumer { firstName } restaurant { name } ticket { status readyBy } delivery { status courier { id } } payment { authorized { amount } reversed } } }`
	listOrders = `query($consumer: ID!, $status: OrderStatus, $keyword: String, $first: Int, $after: String) {
		orders(consumerId: $consumer, status: $status, keyword: $keyword, first: $first, after: $after) {
			nodes { id status total { amount } } pageInfo { hasNextPage endCursor } } }`
)

var address = vars{"street1": "9 Amazing View", "city": "Oakland", "state": "CA", "zip": "94612"}

var menu = []any{
	vars{"id": "vindaloo", "name": "Chicken Vindaloo", "price": vars{"amount": 1234}},
	vars{"id": "naan", "name": "Garlic Naan", "price": vars{"amount": 250}},
}

// town is a restaurant, a consumer with a good card, and whoever else a test needs.
type town struct {
	*system
	restaurant, consumer         string
	asRestaurant, asConsumer     client
	asAdmin, asCourier, asNobody client
	courier                      string
}

// newTown registers everybody, each right after the other.
func newTown(t *testing.T, s *system) town {
	t.Helper()
	w := town{system: s, restaurant: newID("restaurant"), consumer: newID("consumer"), courier: newID("courier")}
	w.asRestaurant, w.asConsumer = s.web(t, w.restaurant, "restaurant"), s.web(t, w.consumer, "consumer")
	w.asCourier, w.asAdmin, w.asNobody = s.web(t, w.courier, "courier"), s.web(t, newID("admin"), "admin"), client{t: t, url: s.webURL}
	w.asConsumer.must(registerConsumer, vars{"input": vars{"firstName": "Ada", "lastName": "Byron", "card": vars{"token": "ok"}}}, "")
	w.asRestaurant.must(createRestaurant, vars{"input": vars{"name": "Ajanta", "address": address, "menu": menu}}, "")
	return w
}

// newConsumer registers another consumer who pays with card.
func (w town) newConsumer(t *testing.T, card string) (string, client) {
	t.Helper()
	id := newID("consumer")
	c := w.web(t, id, "consumer")
	input := vars{"firstName": "Grace", "lastName": "Hopper"}
	if card != "" {
		input["card"] = vars{"token": card}
	}
	c.must(registerConsumer, vars{"input": input}, "")
	return id, c
}

// order is the input of placeOrder: two vindaloos unless lines are given.
func (w town) order(consumer string, lines ...any) vars {
	if len(lines) == 0 {
		lines = []any{vars{"menuItemId": "vindaloo", "quantity": 2}}
	}
	return vars{"consumerId": consumer, "restaurantId": w.restaurant, "lineItems": lines, "deliveryAddress": address}
}

// approved places an order and waits until it is approved.
func (w town) approved(t *testing.T) (id string, a answer) {
	t.Helper()
	a = w.asConsumer.ask(placeOrder, vars{"input": w.order(w.consumer), "wait": 5000})
	if got := a.ok(t, "placeOrder.status"); got != "APPROVED" {
		t.Fatalf("the order is %v: %v", got, a.at("placeOrder.rejectionReason"))
	}
	return a.at("placeOrder.id").(string), a
}

func newID(kind string) string { return fmt.Sprintf("%s-%s", kind, rand.Text()[:12]) }
