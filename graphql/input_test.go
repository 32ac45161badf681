package graphql_test

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cleave-go/cleave/graphql"
	pb "github.com/cleave-go/cleave/internal/shop"
)

func TestInputsArriveAsProtoMessages(t *testing.T) {
	s := newShop()
	schema := s.load(t, quiet)
	full := &pb.PlaceOrderRequest{ConsumerId: "c1", LineItems: []*pb.LineItem{{MenuItemId: "m", Quantity: 2, Price: &pb.Money{Amount: 5, Currency: "USD"}}},
		DeliveryAddress: &pb.Address{Street1: "s"}, DeliveryTime: timestamppb.New(time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC)),
		IdempotencyKey: "7", WaitMs: 5000, Want: pb.OrderStatus_APPROVED}
	for _, c := range []struct {
		name, query, vars string
		want              *pb.PlaceOrderRequest
	}{
		{"written in the document", `mutation { placeOrder(waitMs: 5000, input: {consumerId: "c1", lineItems: [{menuItemId: "m", quantity: 2, price: {amount: 5}}],
			deliveryAddress: {street1: "s", street2: null}, deliveryTime: "2026-01-02T03:04:05+01:00", idempotencyKey: 7}) { id } }`, "", full},
		{"as one variable", `mutation($in: PlaceOrderInput!, $w: Int) { placeOrder(waitMs: $w, input: $in) { id } }`,
			`{"w": 5000, "in": {"consumerId": "c1", "lineItems": {"menuItemId": "m", "quantity": 2.0, "price": {"amount": 5}}, "deliveryAddress": {"street1": "s"}, "deliveryTime": "2026-01-02T03:04:05+01:00", "idempotencyKey": 7}}`, full},
		{"as variables inside a literal", `mutation($q: Int!, $t: DateTime, $key: ID = 7) { placeOrder(waitMs: 5000, input: {consumerId: "c1", lineItems: [{menuItemId: "m", quantity: $q, price: {amount: 5, currency: "USD"}}],
			deliveryAddress: {street1: "s"}, deliveryTime: $t, idempotencyKey: $key}) { id } }`, `{"q": 2, "t": "2026-01-02T02:04:05Z"}`, full},
		{"with defaults", `mutation($w: Int, $t: DateTime) { placeOrder(waitMs: $w, input: {consumerId: "c1", lineItems: [], deliveryAddress: {street1: "s"}, deliveryTime: $t}) { id } }`, `{}`,
			&pb.PlaceOrderRequest{ConsumerId: "c1", DeliveryAddress: &pb.Address{Street1: "s"}, Want: pb.OrderStatus_APPROVED}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.placed = nil
			want(t, ask(t, schema, c.query, c.vars), `{"data":{"placeOrder":{"id":"o-new"}}}`)
			if len(s.placed) != 1 || !proto.Equal(s.placed[0], c.want) {
				t.Errorf("arrived %v, want %v", s.placed, c.want)
			}
		})
	}
}

func TestOtherMappingsOfArguments(t *testing.T) {
	s := newShop()
	schema := s.load(t, quiet)
	want(t, ask(t, schema, `mutation { registerConsumer(input: {firstName: "Ada", card: {token: "ok"}}) { id firstName } }`, ""), `{"data":{"registerConsumer":{"id":"c-new","firstName":"Ada"}}}`)
	ask(t, schema, `mutation { registerConsumer(input: {firstName: "Bob"}) { id } }`, "")
	if len(s.cards) != 2 || s.cards[0].CardToken != "ok" || s.cards[1].CardToken != "" {
		t.Errorf("cards: %v", s.cards)
	}
	ask(t, schema, `{ orders(consumerId: "c", status: APPROVED) { pageInfo { hasNextPage } } }`, "")
	if got := s.listed[0]; got.Status != "APPROVED" || got.First != 20 || got.ConsumerId != "c" {
		t.Errorf("listed: %v, want the default page and the enum's name", got)
	}
}

func TestBadInputNamesItsFieldAndCallsNobody(t *testing.T) {
	place := func(in string) string {
		return `mutation { placeOrder(input: ` + in + `) { id } }`
	}
	vars := `mutation($in: PlaceOrderInput!) { placeOrder(input: $in) { id } }`
	ok := `consumerId: "c", deliveryAddress: {street1: "s"}`
	for _, c := range []struct{ name, query, vars, field string }{
		{"an unknown field of a type", `{ order(id: "1") { nope } }`, "", "nope"},
		{"an unknown root field", `{ nope }`, "", "nope"},
		{"an unknown argument", `{ order(id: "1", x: 2) { id } }`, "", "order"},
		{"a missing argument", `{ order { id } }`, "", "order"},
		{"an argument of the wrong type", `{ orders(consumerId: "c", first: "x") { pageInfo { hasNextPage } } }`, "", "first"},
		{"an unknown field of an input, written", place(`{` + ok + `, lineItems: [], bad: 1}`), "", "input.bad"},
		{"an unknown field of an input, as a variable", vars, `{"in": {"consumerId": "c", "deliveryAddress": {"street1": "s"}, "lineItems": [], "bad": 1}}`, "in.bad"},
		{"a missing field, as a variable", vars, `{"in": {"consumerId": "c", "deliveryAddress": {"street1": "s"}, "lineItems": [{"menuItemId": "m"}]}}`, "in.lineItems[0].quantity"},
		{"a wrong field deep in a variable", vars, `{"in": {"consumerId": "c", "deliveryAddress": {"street1": "s"}, "lineItems": [{"menuItemId": "m", "quantity": 1}, {"menuItemId": "m", "quantity": "two"}]}}`, "in.lineItems[1].quantity"},
		{"half a quantity", vars, `{"in": {"consumerId": "c", "deliveryAddress": {"street1": "s"}, "lineItems": [{"menuItemId": "m", "quantity": 1.5}]}}`, "in.lineItems[0].quantity"},
		{"a null that must not be, as a variable", vars, `{"in": {"consumerId": null, "deliveryAddress": {"street1": "s"}, "lineItems": []}}`, "in.consumerId"},
		{"an Int beyond 32 bits, written", place(`{` + ok + `, lineItems: [{menuItemId: "m", quantity: 2147483648}]}`), "", "input.lineItems[0].quantity"},
		{"an Int far beyond, written", place(`{` + ok + `, lineItems: [{menuItemId: "m", quantity: 99999999999999999999}]}`), "", "input.lineItems[0].quantity"},
		{"an Int beyond 32 bits, as a variable", `query($n: Int) { orders(consumerId: "c", first: $n) { pageInfo { hasNextPage } } }`, `{"n": 2147483648}`, "n"},
		{"a DateTime that is none, written", place(`{` + ok + `, lineItems: [], deliveryTime: "tomorrow"}`), "", "input.deliveryTime"},
		{"a DateTime that is a number", place(`{` + ok + `, lineItems: [], deliveryTime: 5}`), "", "input.deliveryTime"},
		{"a DateTime before year 1", vars, `{"in": {"consumerId": "c", "deliveryAddress": {"street1": "s"}, "lineItems": [], "deliveryTime": "0000-01-01T00:00:00Z"}}`, "in.deliveryTime"},
		{"an enum value nobody knows", `{ orders(consumerId: "c", status: LOST) { pageInfo { hasNextPage } } }`, "", "status"},
		{"an enum in another case, as a variable", `query($s: OrderStatus) { orders(consumerId: "c", status: $s) { pageInfo { hasNextPage } } }`, `{"s": "approved"}`, "s"},
		{"a missing variable", `query($id: ID!) { order(id: $id) { id } }`, `{}`, "id"},
		{"an object where a scalar belongs", `query($id: ID!) { order(id: $id) { id } }`, `{"id": {"a": 1}}`, "id"},
		{"a list where a scalar belongs", `query($id: ID!) { order(id: $id) { id } }`, `{"id": ["a"]}`, "id"},
		{"an infinite Float", `query($f: Float) { echo(in: {f: $f}) }`, `{"f": 1e999}`, "f"},
		{"no query at all", ``, ``, "query"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShop()
			got := ask(t, s.load(t, quiet), c.query, c.vars)
			contains(t, got, `"code":"BAD_USER_INPUT"`, `"field":"`+c.field+`"`)
			if strings.Contains(got, `"data"`) || s.total() > 0 {
				t.Errorf("something was executed: %s", got)
			}
		})
	}
}

func TestCoercionOfEveryKind(t *testing.T) {
	schema := newShop().load(t, quiet)
	q := `query($e: Everything) { echo(in: $e) }`
	for _, c := range []struct{ vars, want string }{
		{`{"e": {"i": 3.0, "f": 1, "s": "x", "b": true, "id": 12, "e": "PENDING", "l": 4, "o": {"l": [1, 2]}}}`, `{\"b\":true,\"e\":\"PENDING\",\"f\":1,\"i\":3,\"id\":\"12\",\"l\":[4],\"o\":{\"l\":[1,2]},\"s\":\"x\"}`},
		{`{"e": {"f": 1e3, "s": null}}`, `{\"f\":1000,\"s\":null}`},
		{`{"e": null}`, `null`},
		{`{}`, `{"data":{"echo":null}}`},
	} {
		contains(t, ask(t, schema, q, c.vars), c.want)
	}
	contains(t, ask(t, schema, `{ echo(in: {i: -5, f: 2, s: """block""", b: false, id: "z", e: REJECTED, l: [], o: {l: 1}}) }`, ""),
		`{\"b\":false,\"e\":\"REJECTED\",\"f\":2,\"i\":-5,\"id\":\"z\",\"l\":[],\"o\":{\"l\":[1]},\"s\":\"block\"}`)
}

func TestLimitsHoldBeforeAnythingRuns(t *testing.T) {
	deep := func(n int) string {
		return `{__type(name:"Q")` + strings.Repeat(`{ofType`, n) + `{name}` + strings.Repeat(`}`, n) + `}`
	}
	bomb := `query { ...F0 } `
	for i := range 40 {
		next := "consumer(id:\"c\"){id}"
		if i < 39 {
			next = strings.Repeat("...F"+itoa(i+1)+" ", 2)
		}
		bomb += "fragment F" + itoa(i) + " on Query { " + next + " } "
	}
	o := quiet
	o.Introspection = true
	for _, c := range []struct{ name, query, want string }{
		{"tokens", `{` + strings.Repeat(" __typename", 15_001) + `}`, "exceeded token limit"},
		{"depth", deep(15), "nested too deeply: at most 15 levels"},
		{"fields", `{` + strings.Repeat(" __typename", 501) + `}`, "too many fields: at most 500"},
		{"fragments that double", bomb, "too many fields: at most 500"},
		{"fields of a fragment nobody spreads", `{__typename} fragment F on Query {` + strings.Repeat(" __typename", 501) + `}`, "too many fields"},
		{"aliases", `{` + func() (s string) {
			for i := range 31 {
				s += " a" + itoa(i) + ":__typename"
			}
			return s
		}() + `}`, "too many aliases: at most 30"},
		{"a fragment in a circle", `{...A} fragment A on Query {...B} fragment B on Query {...A}`, "Cannot spread fragment"},
		{"directives without end", `{__typename ` + strings.Repeat("@skip(if:false) ", 2000) + `}`, "can only be used once"},
		{"size", `{__typename}` + strings.Repeat(" ", 256<<10), `"code":"PAYLOAD_TOO_LARGE"`},
		{"a subscription", `subscription { orderChanged(id: "1") { id } }`, "subscriptions are not served here"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newShop()
			start := time.Now()
			contains(t, ask(t, s.load(t, o), c.query, ""), c.want)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			if s.total() > 0 {
				t.Error("a service was called")
			}
		})
	}
	costly := quiet
	costly.Limits = graphql.Limits{Cost: 15}
	contains(t, ask(t, newShop().load(t, costly), `mutation { a: cancelOrder(id: 1) { id } b: cancelOrder(id: 2) { id } }`, ""), "the operation costs 20: at most 15")
	free := quiet
	free.Limits = graphql.Limits{Fields: -1}
	want(t, ask(t, newShop().load(t, free), `{`+strings.Repeat(" __typename", 1000)+`}`, ""), `{"data":{"__typename":"Query"}}`)
}

func itoa(n int) string { return string(rune('a'+n/26)) + string(rune('a'+n%26)) }
