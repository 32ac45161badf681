package acceptance_test

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
)

func authorization(t *testing.T, w town) {
	id, _ := w.approved(t)
	_, stranger := w.newConsumer(t, "ok")
	otherRestaurant := w.web(t, newID("restaurant"), "restaurant")
	for _, c := range []struct {
		name     string
		who      client
		document string
		v        vars
		want     string
	}{
		{"nobody sees an order", w.asNobody, getOrder, vars{"id": id}, "UNAUTHENTICATED"},
		{"nobody places an order", w.asNobody, placeOrder, vars{"input": w.order(w.consumer)}, "UNAUTHENTICATED"},
		{"a stranger does not see an order", stranger, `query($id: ID!) { order(id: $id) { id } }`, vars{"id": id}, "NOT_FOUND"},
		{"a stranger does not cancel an order", stranger, cancelOrder, vars{"id": id}, "NOT_FOUND"},
		{"a stranger does not pay with somebody's card", stranger, placeOrder, vars{"input": w.order(w.consumer)}, "FORBIDDEN"},
		{"another restaurant does not accept a ticket", otherRestaurant, accept, vars{"id": id, "at": soon()}, "NOT_FOUND"},
		{"a consumer does not accept a ticket", w.asConsumer, accept, vars{"id": id, "at": soon()}, "FORBIDDEN"},
		{"a consumer creates no restaurant", w.asConsumer, createRestaurant, vars{"input": vars{"name": "x", "address": address, "menu": menu}}, "FORBIDDEN"},
		{"nobody registers twice", w.asConsumer, registerConsumer, vars{"input": vars{"firstName": "A", "lastName": "B"}}, "CONFLICT"},
		{"an unknown order is not found", w.asConsumer, `query($id: ID!) { order(id: $id) { id } }`, vars{"id": "none"}, "NOT_FOUND"},
	} {
		a := c.who.ask(c.document, c.v)
		if a.code(t) != c.want || a.Status >= 500 {
			t.Errorf("%s: got %v (status %d), want %s", c.name, a.Errors, a.Status, c.want)
		}
	}
	for name, who := range map[string]client{"its restaurant": w.asRestaurant, "an admin": w.asAdmin} {
		if got := who.must(`query($id: ID!) { order(id: $id) { id } }`, vars{"id": id}, "order.id"); got != id {
			t.Errorf("%s sees %v", name, got)
		}
	}
	if nodes := stranger.must(listOrders, vars{"consumer": w.consumer}, "orders.nodes").([]any); len(nodes) != 0 {
		t.Errorf("a stranger sees %d orders of the consumer", len(nodes))
	}
	public := w.asNobody.must(`query($id: ID!) { restaurant(id: $id) { name } restaurants(first: 1) { nodes { id } } }`, vars{"id": w.restaurant}, "restaurant.name")
	if public != "Ajanta" {
		t.Errorf("nobody sees the restaurant as %v", public)
	}
}

func badInput(t *testing.T, w town) {
	count := func() int {
		return len(w.asAdmin.must(listOrders, vars{"consumer": w.consumer, "first": 100}, "orders.nodes").([]any))
	}
	before := count()
	with := func(name string, value any) vars {
		input := w.order(w.consumer)
		input[name] = value
		return vars{"input": input}
	}
	dish := func(amount any, currency string) vars {
		return vars{"input": vars{"name": "x", "address": address, "menu": []any{vars{"id": "a", "name": "a", "price": vars{"amount": amount, "currency": currency}}}}}
	}
	fresh := w.web(t, newID("restaurant"), "restaurant")
	for _, c := range []struct {
		name     string
		who      client
		document string
		v        vars
		field    string // its last part
	}{
		{"an unknown restaurant", w.asConsumer, placeOrder, with("restaurantId", "none"), "restaurantId"},
		{"an unknown item", w.asConsumer, placeOrder, with("lineItems", []any{vars{"menuItemId": "pizza", "quantity": 1}}), "menuItemId"},
		{"a negative quantity", w.asConsumer, placeOrder, with("lineItems", []any{vars{"menuItemId": "naan", "quantity": -1}}), "quantity"},
		{"a quantity of zero", w.asConsumer, placeOrder, with("lineItems", []any{vars{"menuItemId": "naan", "quantity": 0}}), "quantity"},
		{"a quantity beyond Int", w.asConsumer, placeOrder, with("lineItems", []any{vars{"menuItemId": "naan", "quantity": 1e12}}), "quantity"},
		{"no items", w.asConsumer, placeOrder, with("lineItems", []any{}), "lineItems"},
		{"an empty street", w.asConsumer, placeOrder, with("deliveryAddress", vars{"street1": "", "city": "c", "state": "s", "zip": "z"}), "street1"},
		{"a missing city", w.asConsumer, placeOrder, with("deliveryAddress", vars{"street1": "x", "state": "s", "zip": "z"}), "city"},
		{"a time that is none", w.asConsumer, placeOrder, with("deliveryTime", "tomorrow"), "deliveryTime"},
		{"an unknown field", w.asConsumer, placeOrder, with("tip", 1), "tip"},
		{"too long a wait", w.asConsumer, placeOrder, vars{"input": w.order(w.consumer), "wait": 10001}, "waitMs"},
		{"a foreign currency", fresh, createRestaurant, dish(100, "EUR"), "currency"},
		{"a price of nothing", fresh, createRestaurant, dish(0, "USD"), "amount"},
		{"a negative price", fresh, createRestaurant, dish(-5, "USD"), "amount"},
		{"a price that is text", fresh, createRestaurant, dish("x", "USD"), "amount"},
		{"an unknown card", w.asConsumer, `mutation($id: ID!) { setPaymentCard(consumerId: $id, card: {token: "gold"}) { id } }`, vars{"id": w.consumer}, "token"},
		{"a page of a million", w.asConsumer, listOrders, vars{"consumer": w.consumer, "first": 1000000}, "first"},
		{"a cursor that is none", w.asConsumer, listOrders, vars{"consumer": w.consumer, "after": "x"}, "after"},
	} {
		a := c.who.ask(c.document, c.v)
		if len(a.Errors) == 0 {
			t.Errorf("%s: accepted: %v", c.name, a.Data)
			continue
		}
		if e := a.Errors[0]; e.code() != "BAD_USER_INPUT" || !strings.HasSuffix(e.field(), c.field) || a.Status >= 500 {
			t.Errorf("%s: got %s about %q (%s; status %d), want BAD_USER_INPUT about %s", c.name, e.code(), e.field(), e.Message, a.Status, c.field)
		}
	}
	if after := count(); after != before {
		t.Errorf("%d orders were stored", after-before)
	}
}

func badRequests(t *testing.T, w town) {
	for _, c := range []struct {
		name, body, code string
		status           int
	}{
		{"no JSON", `{`, "BAD_USER_INPUT", 400},
		{"no query", `{}`, "BAD_USER_INPUT", 400},
		{"malformed GraphQL", `{"query":"{ order("}`, "BAD_USER_INPUT", 0},
		{"an unknown field", `{"query":"{ nope }"}`, "BAD_USER_INPUT", 0},
		{"an unknown argument", `{"query":"{ restaurants(color: 1) { nodes { id } } }"}`, "BAD_USER_INPUT", 0},
		{"an unknown operation", `{"query":"query A { restaurants { nodes { id } } }","operationName":"B"}`, "BAD_USER_INPUT", 0},
		{"a variable of the wrong type", `{"query":"query($f: Int) { restaurants(first: $f) { nodes { id } } }","variables":{"f":"x"}}`, "BAD_USER_INPUT", 0},
		{"ten megabytes", `{"query":"{ restaurants { nodes { id } } } #` + strings.Repeat("x", 10<<20) + `"}`, "PAYLOAD_TOO_LARGE", 413},
		{"a bottomless query", `{"query":"` + strings.Repeat("{a", 2000) + strings.Repeat("}", 2000) + `"}`, "BAD_USER_INPUT", 0},
		{"a thousand aliases", `{"query":"{` + strings.Repeat(" a: restaurants { nodes { id } }", 1000) + `}"}`, "BAD_USER_INPUT", 0},
	} {
		a, err := w.asConsumer.send([]byte(c.body))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if len(a.Errors) == 0 || a.Errors[0].code() != c.code || a.Status >= 500 || c.status != 0 && a.Status != c.status {
			t.Errorf("%s: got %v, status %d, want %s", c.name, a.Errors, a.Status, c.code)
		}
	}
	for name, change := range map[string]func(*http.Request){
		"a form":       func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") },
		"another Host": func(r *http.Request) { r.Host = "evil.example" },
		"a foreign page": func(r *http.Request) {
			r.Header.Set("Origin", "http://evil.example")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
		},
	} {
		req, err := http.NewRequest(http.MethodPost, w.webURL, bytes.NewReader([]byte(`{"query":"{ restaurants { nodes { id } } }"}`)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		change(req)
		res, err := httpClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode < 400 || res.StatusCode >= 500 {
			t.Errorf("%s: got status %d, want a refusal", name, res.StatusCode)
		}
	}
}

func badTokens(t *testing.T, w town) {
	parts := strings.Split(w.asConsumer.token, ".")
	enc := base64.RawURLEncoding
	none := enc.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	claims, err := enc.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	admin := enc.EncodeToString(bytes.Replace(claims, []byte(`consumer`), []byte(`admin`), -1))
	for name, token := range map[string]string{
		"expired":              w.token(t, w.consumer, "consumer", "--ttl", "-1m"),
		"not a token":          "x",
		"without a signature":  parts[0] + "." + parts[1] + ".",
		"with algorithm none":  none + "." + parts[1] + ".",
		"with other claims":    parts[0] + "." + admin + "." + parts[2],
		"with a cut signature": w.asConsumer.token[:len(w.asConsumer.token)-8],
		"ten kilobytes of it":  strings.Repeat("x", 10_000),
	} {
		c := w.asConsumer
		c.token = token
		// A field that is public without a token is not with a bad one.
		for _, document := range []string{`{ orders(consumerId: "x") { nodes { id } } }`, `{ restaurants { nodes { id } } }`} {
			a := c.ask(document, nil)
			if len(a.Errors) == 0 || a.Errors[0].code() != "UNAUTHENTICATED" || a.Status >= 500 {
				t.Errorf("%s: got %v (status %d), want UNAUTHENTICATED", name, a.Errors, a.Status)
			}
		}
	}
}

func subscriptions(t *testing.T, w town) {
	a := w.asConsumer.ask(`subscription { orderChanged(id: "x") { id } }`, nil)
	if len(a.Errors) == 0 || a.Status >= 500 || !strings.Contains(strings.ToLower(a.Errors[0].Message), "subscription") {
		t.Errorf("got %v (status %d), want an error that speaks of subscriptions", a.Errors, a.Status)
	}
}
