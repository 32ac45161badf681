package acceptance_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"
)

func TestServices(t *testing.T) { suite(t, "services") }
func TestMonolith(t *testing.T) { suite(t, "monolith") }
func TestMix(t *testing.T)      { suite(t, "mix") }

// suite is what FTGO does, whatever processes it runs in.
func suite(t *testing.T, topology string) {
	t.Parallel()
	s := start(t, topology)
	for _, c := range []struct {
		name string
		test func(*testing.T, town)
	}{
		{"an order is approved within a second", approvedQuickly},
		{"an expired card rejects the order and leaves nothing behind", rejectedCleanly},
		{"every refusal has its reason", refusals},
		{"the history shows an order at once with the consistency token", readYourWrites},
		{"history pages, filters and searches", history},
		{"the same key places the same order", idempotentPlacing},
		{"an order is cancelled with its ticket and its authorization", cancelling},
		{"an order that is being prepared is not cancelled", cancellingTooLate},
		{"an order is revised with its ticket and its authorization", revising},
		{"a revision over the limit leaves the order as it was", revisingTooMuch},
		{"an order is cooked, picked up and dropped off", delivering},
		{"a delivery waits for a courier", waitingForCourier},
		{"a new card counts for the next order", changingCards},
		{"a revised menu counts for the next order", revisingMenus},
		{"the REST view shows an order", restView},
		{"the phone shows cards", mobile},
		{"everybody sees their own", authorization},
		{"bad input is refused with its field", badInput},
		{"bad requests never reach a service", badRequests},
		{"bad tokens are refused", badTokens},
		{"a subscription is answered clearly", subscriptions},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, newTown(t, s)) })
	}
}

func approvedQuickly(t *testing.T, w town) {
	began := time.Now()
	id, _ := w.approved(t)
	took := time.Since(began)
	t.Logf("approved after %v", took.Round(time.Millisecond))
	if took > 3*time.Second { // a second is the aim; a busy machine is no failure
		t.Errorf("took %v", took)
	}
	a := w.asConsumer.ask(getOrder, vars{"id": id})
	a.ok(t, "")
	for path, want := range map[string]any{
		"order.status": "APPROVED", "order.total.amount": 2468.0, "order.consumer.firstName": "Ada", "order.restaurant.name": "Ajanta",
		"order.ticket.status": "AWAITING_ACCEPTANCE", "order.payment.authorized.amount": 2468.0, "order.payment.reversed": false,
	} {
		if got := a.at(path); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
}

func rejectedCleanly(t *testing.T, w town) {
	consumer, c := w.newConsumer(t, "expired")
	a := c.ask(placeOrder, vars{"input": w.order(consumer), "wait": 5000})
	if a.ok(t, "placeOrder.status") != "REJECTED" || a.at("placeOrder.rejectionReason") != "CARD_EXPIRED" {
		t.Fatalf("got %v, want REJECTED with CARD_EXPIRED", a.Data)
	}
	id := a.at("placeOrder.id")
	eventually(t, "nothing is left of the order", func() bool {
		a := c.ask(getOrder, vars{"id": id})
		return a.ok(t, "order.status") == "REJECTED" && a.at("order.ticket") == nil && a.at("order.payment") == nil && a.at("order.delivery") == nil
	})
}

func refusals(t *testing.T, w town) {
	for card, want := range map[string]string{"": "CARD_MISSING", "expired": "CARD_EXPIRED", "limit-2467": "CARD_LIMIT"} {
		consumer, c := w.newConsumer(t, card)
		if got := c.must(placeOrder, vars{"input": w.order(consumer), "wait": 5000}, "placeOrder.rejectionReason"); got != want {
			t.Errorf("card %q: rejected with %v, want %s", card, got, want)
		}
	}
	stranger := newID("consumer")
	if got := w.asAdmin.must(placeOrder, vars{"input": w.order(stranger), "wait": 5000}, "placeOrder.rejectionReason"); got != "CONSUMER_UNKNOWN" {
		t.Errorf("unknown consumer: rejected with %v, want CONSUMER_UNKNOWN", got)
	}
}

func readYourWrites(t *testing.T, w town) {
	for range 10 {
		id, placed := w.approved(t)
		if placed.Header.Get("Cleave-Consistency") == "" || placed.Extensions["consistency"] == nil {
			t.Fatal("the answer has no consistency token")
		}
		a := w.asConsumer.after(placed).ask(listOrders, vars{"consumer": w.consumer, "first": 1})
		nodes, _ := a.ok(t, "orders.nodes").([]any)
		if len(nodes) != 1 || nodes[0].(map[string]any)["id"] != id || nodes[0].(map[string]any)["status"] != "APPROVED" {
			t.Fatalf("the history shows %v, want order %s approved", nodes, id)
		}
	}
}

func history(t *testing.T, w town) {
	var last answer
	var ids []string
	for range 3 {
		var id string
		id, last = w.approved(t)
		ids = append(ids, id)
	}
	c := w.asConsumer.after(last)
	page := c.ask(listOrders, vars{"consumer": w.consumer, "first": 2})
	if nodes := page.ok(t, "orders.nodes").([]any); len(nodes) != 2 || nodes[0].(map[string]any)["id"] != ids[2] {
		t.Errorf("the first page is %v, want the two newest of %v", nodes, ids)
	}
	if page.at("orders.pageInfo.hasNextPage") != true {
		t.Error("the first page has no next one")
	}
	rest := c.ask(listOrders, vars{"consumer": w.consumer, "first": 2, "after": page.at("orders.pageInfo.endCursor")})
	if nodes := rest.ok(t, "orders.nodes").([]any); len(nodes) != 1 || nodes[0].(map[string]any)["id"] != ids[0] || rest.at("orders.pageInfo.hasNextPage") != false {
		t.Errorf("the last page is %v, want the oldest of %v", rest.Data, ids)
	}
	for _, f := range []struct {
		filter vars
		want   int
	}{
		{vars{"status": "APPROVED"}, 3}, {vars{"status": "REJECTED"}, 0},
		{vars{"keyword": "vINDaloo"}, 3}, {vars{"keyword": "ajanta"}, 3}, {vars{"keyword": "pizza"}, 0},
	} {
		f.filter["consumer"] = w.consumer
		if nodes := c.must(listOrders, f.filter, "orders.nodes").([]any); len(nodes) != f.want {
			t.Errorf("%v finds %d orders, want %d", f.filter, len(nodes), f.want)
		}
	}
}

func idempotentPlacing(t *testing.T, w town) {
	input := w.order(w.consumer)
	input["idempotencyKey"] = newID("key")
	first := w.asConsumer.must(placeOrder, vars{"input": input, "wait": 5000}, "placeOrder.id")
	second := w.asConsumer.must(placeOrder, vars{"input": input, "wait": 5000}, "placeOrder.id")
	if first != second {
		t.Errorf("the same key placed %v and %v", first, second)
	}
}

const (
	cancelOrder = `mutation($id: ID!) { cancelOrder(id: $id, waitMs: 5000) { id status } }`
	reviseOrder = `mutation($id: ID!, $lines: [OrderLineItemInput!]!) { reviseOrder(id: $id, lineItems: $lines, waitMs: 5000) { id status total { amount } } }`
	accept      = `mutation($id: ID!, $at: DateTime!) { acceptTicket(orderId: $id, readyBy: $at) { status } }`
)

func cancelling(t *testing.T, w town) {
	id, _ := w.approved(t)
	if got := w.asConsumer.must(cancelOrder, vars{"id": id}, "cancelOrder.status"); got != "CANCELLED" {
		t.Fatalf("the order is %v", got)
	}
	a := w.asConsumer.ask(getOrder, vars{"id": id})
	if a.ok(t, "order.ticket.status") != "CANCELLED" || a.at("order.payment.reversed") != true {
		t.Errorf("ticket and payment are %v and %v", a.at("order.ticket"), a.at("order.payment"))
	}
	if got := w.asConsumer.must(cancelOrder, vars{"id": id}, "cancelOrder.status"); got != "CANCELLED" {
		t.Errorf("cancelled again, the order is %v", got)
	}
}

func cancellingTooLate(t *testing.T, w town) {
	id, _ := w.approved(t)
	w.asRestaurant.must(accept, vars{"id": id, "at": soon()}, "")
	w.asRestaurant.must(`mutation($id: ID!) { startPreparing(orderId: $id) { status } }`, vars{"id": id}, "")
	if got := w.asConsumer.must(cancelOrder, vars{"id": id}, "cancelOrder.status"); got != "APPROVED" {
		t.Errorf("the order is %v, want APPROVED still", got)
	}
	a := w.asConsumer.ask(getOrder, vars{"id": id})
	if a.ok(t, "order.ticket.status") != "PREPARING" || a.at("order.payment.reversed") != false {
		t.Errorf("ticket and payment are %v and %v", a.at("order.ticket"), a.at("order.payment"))
	}
}

func revising(t *testing.T, w town) {
	id, _ := w.approved(t)
	lines := []any{vars{"menuItemId": "vindaloo", "quantity": 1}, vars{"menuItemId": "naan", "quantity": 3}}
	a := w.asConsumer.ask(reviseOrder, vars{"id": id, "lines": lines})
	if a.ok(t, "reviseOrder.status") != "APPROVED" || a.at("reviseOrder.total.amount") != 1984.0 {
		t.Fatalf("the order is %v", a.Data)
	}
	if got := w.asConsumer.must(getOrder, vars{"id": id}, "order.payment.authorized.amount"); got != 1984.0 {
		t.Errorf("%v is authorized, want 1984", got)
	}
}

func revisingTooMuch(t *testing.T, w town) {
	id, _ := w.approved(t)
	a := w.asConsumer.ask(reviseOrder, vars{"id": id, "lines": []any{vars{"menuItemId": "vindaloo", "quantity": 100}}})
	if a.ok(t, "reviseOrder.status") != "APPROVED" || a.at("reviseOrder.total.amount") != 2468.0 {
		t.Errorf("the order is %v, want it as it was", a.Data)
	}
	b := w.asConsumer.ask(getOrder, vars{"id": id})
	if b.ok(t, "order.payment.authorized.amount") != 2468.0 || b.at("order.ticket.status") != "AWAITING_ACCEPTANCE" {
		t.Errorf("payment and ticket are %v and %v", b.at("order.payment"), b.at("order.ticket"))
	}
}

func delivering(t *testing.T, w town) {
	w.asCourier.must(`mutation($id: ID!) { setCourierAvailability(courierId: $id, available: true) { available } }`, vars{"id": w.courier}, "")
	id, _ := w.approved(t)
	for _, step := range []struct {
		who      client
		document string
		path     string
		want     string
	}{
		{w.asRestaurant, accept, "acceptTicket.status", "ACCEPTED"},
		{w.asRestaurant, `mutation($id: ID!) { startPreparing(orderId: $id) { status } }`, "startPreparing.status", "PREPARING"},
		{w.asRestaurant, `mutation($id: ID!) { finishPreparing(orderId: $id) { status } }`, "finishPreparing.status", "READY_FOR_PICKUP"},
	} {
		if got := step.who.must(step.document, vars{"id": id, "at": soon()}, step.path); got != step.want {
			t.Fatalf("%s is %v, want %s", step.path, got, step.want)
		}
	}
	// Any courier who is available may be chosen, so an admin carries on.
	eventually(t, "the delivery is scheduled", func() bool {
		return w.asConsumer.must(getOrder, vars{"id": id}, "order.delivery.status") == "SCHEDULED"
	})
	if got := w.asAdmin.must(`mutation($id: ID!) { recordPickUp(orderId: $id) { status } }`, vars{"id": id}, "recordPickUp.status"); got != "PICKED_UP" {
		t.Fatalf("the delivery is %v", got)
	}
	if got := w.asAdmin.must(`mutation($id: ID!) { recordDropOff(orderId: $id) { status deliveryTime } }`, vars{"id": id}, "recordDropOff.status"); got != "DELIVERED" {
		t.Fatalf("the delivery is %v", got)
	}
	eventually(t, "the kitchen knows that the food has left", func() bool {
		return w.asRestaurant.must(getOrder, vars{"id": id}, "order.ticket.status") == "PICKED_UP"
	})
	w.asCourier.must(`mutation($id: ID!) { setCourierAvailability(courierId: $id, available: false) { available } }`, vars{"id": w.courier}, "")
}

func waitingForCourier(t *testing.T, w town) {
	id, _ := w.approved(t)
	w.asRestaurant.must(accept, vars{"id": id, "at": soon()}, "")
	eventually(t, "a delivery waits", func() bool {
		return w.asConsumer.must(getOrder, vars{"id": id}, "order.delivery.status") == "PENDING"
	})
	w.asCourier.must(`mutation($id: ID!) { setCourierAvailability(courierId: $id, available: true) { available } }`, vars{"id": w.courier}, "")
	eventually(t, "the courier who comes takes it", func() bool {
		return w.asConsumer.must(getOrder, vars{"id": id}, "order.delivery.courier.id") == w.courier
	})
	w.asCourier.must(`mutation($id: ID!) { setCourierAvailability(courierId: $id, available: false) { available } }`, vars{"id": w.courier}, "")
}

func changingCards(t *testing.T, w town) {
	const set = `mutation($id: ID!, $card: CardInput!) { setPaymentCard(consumerId: $id, card: $card) { id } }`
	for _, c := range []struct{ card, want string }{{"expired", "REJECTED"}, {"ok", "APPROVED"}, {"limit-1", "REJECTED"}, {"limit-2468", "APPROVED"}} {
		w.asConsumer.must(set, vars{"id": w.consumer, "card": vars{"token": c.card}}, "")
		if got := w.asConsumer.must(placeOrder, vars{"input": w.order(w.consumer), "wait": 5000}, "placeOrder.status"); got != c.want {
			t.Errorf("right after card %s was set an order is %v, want %s", c.card, got, c.want)
		}
	}
}

func revisingMenus(t *testing.T, w town) {
	w.approved(t) // the old menu is known everywhere
	revised := w.asRestaurant.ask(`mutation($id: ID!, $items: [MenuItemInput!]!) { reviseMenu(restaurantId: $id, items: $items) { menu { id } } }`,
		vars{"id": w.restaurant, "items": []any{vars{"id": "vindaloo", "name": "Chicken Vindaloo", "price": vars{"amount": 1500}}}})
	revised.ok(t, "")
	if got := w.asConsumer.after(revised).must(placeOrder, vars{"input": w.order(w.consumer), "wait": 5000}, "placeOrder.total.amount"); got != 3000.0 {
		t.Errorf("two vindaloos cost %v, want 3000", got)
	}
}

func restView(t *testing.T, w town) {
	id, _ := w.approved(t)
	get := func(token string) (int, map[string]any) {
		req, err := http.NewRequest(http.MethodGet, w.restURL+"/orders/"+id, nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := httpClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var body map[string]any
		if err := json.NewDecoder(res.Body).Decode(&body); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, body
	}
	status, body := get(w.asConsumer.token)
	if status != http.StatusOK || body["id"] != id || body["status"] != "APPROVED" || body["ticket"] == nil || body["payment"] == nil {
		t.Errorf("got %d %v", status, body)
	}
	if status, body := get(""); status != http.StatusUnauthorized {
		t.Errorf("without a token: got %d %v, want 401", status, body)
	}
	_, stranger := w.newConsumer(t, "ok")
	if status, body := get(stranger.token); status != http.StatusNotFound {
		t.Errorf("somebody else's: got %d %v, want 404", status, body)
	}
}

func mobile(t *testing.T, w town) {
	phone := w.asConsumer
	phone.url = w.mobileURL
	const home = `{ home { greeting active { id title stage totalText } recent { id stage } } }`
	const quick = `mutation($r: ID!, $items: [QuickItemInput!]!, $a: AddressInput) { quickOrder(restaurantId: $r, items: $items, deliveryAddress: $a) { id title stage totalText etaMinutes } }`
	items := []any{vars{"menuItemId": "vindaloo", "quantity": 2}}
	if a := phone.ask(quick, vars{"r": w.restaurant, "items": items}); a.code(t) != "BAD_USER_INPUT" || a.Errors[0].field() != "deliveryAddress" {
		t.Errorf("without an address: got %v", a.Errors)
	}
	placed := phone.ask(quick, vars{"r": w.restaurant, "items": items, "a": address})
	for path, want := range map[string]any{
		"quickOrder.title": "Ajanta: 2 × Chicken Vindaloo", "quickOrder.stage": "confirmed", "quickOrder.totalText": "$24.68", "quickOrder.etaMinutes": nil,
	} {
		if got := placed.at(path); got != want {
			t.Errorf("%s is %v, want %v (%v)", path, got, want, placed.Errors)
		}
	}
	id := placed.ok(t, "quickOrder.id")
	screen := phone.after(placed).ask(home, nil)
	if screen.ok(t, "home.greeting") != "Hi Ada" || screen.at("home.active.id") != id {
		t.Errorf("the first screen is %v", screen.Data)
	}
	if again := phone.after(placed).ask(quick, vars{"r": w.restaurant, "items": items}); again.ok(t, "quickOrder.stage") != "confirmed" {
		t.Errorf("with the last order's address: %v", again.Data)
	}
	w.asRestaurant.must(accept, vars{"id": id, "at": soon()}, "")
	w.asRestaurant.must(`mutation($id: ID!) { startPreparing(orderId: $id) { status } }`, vars{"id": id}, "")
	card := phone.ask(`query($id: ID!) { orderCard(id: $id) { stage etaMinutes } }`, vars{"id": id})
	if card.ok(t, "orderCard.stage") != "preparing" || card.at("orderCard.etaMinutes") == nil {
		t.Errorf("the card is %v", card.Data)
	}
	nearby := client{t: t, url: w.mobileURL}.ask(`{ nearby(search: "ajanta", first: 1) { name cheapest } }`, nil)
	if cards := nearby.ok(t, "nearby").([]any); len(cards) != 1 || cards[0].(map[string]any)["cheapest"] != "from $2.50" {
		t.Errorf("nearby is %v", cards)
	}
}

func soon() string { return time.Now().Add(20 * time.Minute).UTC().Format(time.RFC3339) }

// eventually asks again and again until f is true, for five seconds at most.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	within(t, 5*time.Second, what, f)
}

func within(t testing.TB, d time.Duration, what string, f func() bool) {
	t.Helper()
	deadline := time.Now().Add(d)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		if time.Now().After(deadline) {
			t.Fatalf("after %v still not: %s", d, what)
		}
		<-tick.C
	}
}
