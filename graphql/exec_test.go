package graphql_test

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/graphql"
	pb "github.com/cleave-go/cleave/internal/shop"
	"github.com/cleave-go/cleave/rpi"
)

var quiet = graphql.Options{Logger: slog.New(slog.DiscardHandler)}

func TestAnOrderIsComposedFromItsServices(t *testing.T) {
	s := newShop()
	got := ask(t, s.load(t, quiet), `query Q($id: ID!) { o: order(id: $id) { __typename id status rejectionReason placedAt deliveryTime
		lineItems { menuItemId quantity price { amount currency } } total { amount } deliveryAddress { street1 street2 } weight tags serial
		consumer { firstName } ticket { status } notes { text } stage } }`, `{"id": "o0"}`)
	want(t, got, `{"data":{"o":{"__typename":"Order","id":"o0","status":"APPROVED","rejectionReason":null,"placedAt":"2026-11-03T18:30:00.5Z","deliveryTime":null,`+
		`"lineItems":[{"menuItemId":"m1","quantity":2,"price":{"amount":650,"currency":"USD"}}],"total":{"amount":1300},"deliveryAddress":{"street1":"1 High \"Street\"\n","street2":null},"weight":1.5,"tags":[],"serial":"1152921504606846976",`+
		`"consumer":{"firstName":"Name of c0"},"ticket":{"status":"OPEN"},"notes":[{"text":"a of o0"},{"text":"b of o0"}],"stage":"2 TICKET_STATUS_OPEN"}}}`)
	if s.counts["BatchGetTickets"] != 1 {
		t.Errorf("the ticket, and the one the stage needs, took %d calls, want 1", s.counts["BatchGetTickets"])
	}
}

func TestOneBatchCallPerLevelWhateverTheLength(t *testing.T) {
	for _, rows := range []int{1, 10, 100} {
		s := newShop()
		s.rows, s.people = rows, 3
		schema := s.load(t, quiet)
		resp := schema.Execute(t.Context(), graphql.Request{Query: `{ orders(consumerId: "c") { nodes { id consumer { firstName } ticket { status } stage } pageInfo { hasNextPage endCursor } }
			more: orders(consumerId: "c") { nodes { again: consumer { id } } } }`})
		if len(resp.Errors) > 0 {
			t.Fatal(resp.Errors)
		}
		for call, n := range map[string]int{"ListOrders": 1, "BatchGetConsumers": 1, "BatchGetTickets": 1, "stage": 1} {
			if s.counts[call] != n {
				t.Errorf("%d rows: %d calls of %s, want %d", rows, s.counts[call], call, n)
			}
		}
		if resp.Stats.Calls != 3 || resp.Stats.Waves != 3 {
			t.Errorf("%d rows: stats %+v, want 3 calls in 3 waves", rows, resp.Stats)
		}
	}
}

func TestABatchIsCutAtMaxAndTheChunksRunTogether(t *testing.T) {
	s := newShop()
	s.rows, s.people = 7, 7
	got := ask(t, s.load(t, quiet), `{ pastOrders(consumerId: "c") { consumer { id } } }`, "")
	slices.Sort(s.sizes)
	if !slices.Equal(s.sizes, []int{1, 3, 3}) {
		t.Errorf("batches of %v, want 1, 3, 3", s.sizes)
	}
	contains(t, got, `[{"consumer":{"id":"c0"}},{"consumer":{"id":"c1"}}`, `{"consumer":{"id":"c6"}}]`)
}

func TestAKeyThatNobodyAnswersIsNullWithoutAnError(t *testing.T) {
	s := newShop()
	s.order = sample("o0")
	s.order.ConsumerId = "c-gone"
	schema := s.load(t, quiet)
	want(t, ask(t, schema, `{order(id:"o0"){consumer{id}}}`, ""), `{"data":{"order":{"consumer":null}}}`)
	s.order.ConsumerId = ""
	want(t, ask(t, schema, `{order(id:"o0"){consumer{id}}}`, ""), `{"data":{"order":{"consumer":null}}}`)
	if s.counts["BatchGetConsumers"] != 1 {
		t.Errorf("%d calls, want none for an empty key", s.counts["BatchGetConsumers"])
	}
	s.rows = 2
	contains(t, ask(t, schema, `{pastOrders(consumerId:"c"){notes{text}}}`, ""), `[{"notes":[{"text":"a of o0"},{"text":"b of o0"}]},{"notes":[]}]`)
}

func TestAMissingPartIsNullWithItsPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.rows = 2
		s.fail["BatchGetTickets"] = connect.NewError(connect.CodeUnavailable, "secret address")
		schema := s.load(t, quiet)
		want(t, ask(t, schema, `{orders(consumerId:"c"){nodes{id t:ticket{status} consumer{id}}}}`, ""),
			`{"errors":[{"message":"not available at the moment","locations":[{"line":1,"column":34}],"path":["orders","nodes",0,"t"],"extensions":{"code":"UNAVAILABLE","service":"kitchen","retryable":true}},`+
				`{"message":"not available at the moment","locations":[{"line":1,"column":34}],"path":["orders","nodes",1,"t"],"extensions":{"code":"UNAVAILABLE","service":"kitchen","retryable":true}}],`+
				`"data":{"orders":{"nodes":[{"id":"o0","t":null,"consumer":{"id":"c0"}},{"id":"o1","t":null,"consumer":{"id":"c1"}}]}}}`)
		contains(t, ask(t, schema, `{order(id:"o0"){stage}}`, ""), `{"data":{"order":{"stage":"unknown"}}}`)
	})
}

func TestNullPropagatesToTheNearestNullableField(t *testing.T) {
	s := newShop()
	s.fail["BatchGetTickets"] = connect.NewError(connect.CodeUnavailable, "")
	schema := s.load(t, quiet)
	contains(t, ask(t, schema, `{order(id:"o0"){id surely{status}} c:consumer(id:"x"){id}}`, ""), `"path":["order","surely"]`, `"data":{"order":null,"c":{"id":"x"}}}`)
	contains(t, ask(t, schema, `{orders(consumerId:"c"){nodes{surely{status}}}}`, ""), `"path":["orders","nodes",0,"surely"]`, `"data":null`)
	s.fail["ListOrders"] = connect.NewError(connect.CodeNotFound, "nobody")
	contains(t, ask(t, schema, `{consumer(id:"c"){orders{pageInfo{endCursor}}}}`, ""), `"path":["consumer","orders"]`, `"code":"NOT_FOUND"`, `"data":null`)
}

func TestAnOptionalPartHasItsOwnTimeAndFallback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.delay["BatchGetTickets"] = time.Minute
		schema := s.load(t, quiet)
		start := time.Now()
		got := ask(t, schema, `{order(id:"o0"){id ticket{status}}}`, "")
		if took := time.Since(start); took != 100*time.Millisecond {
			t.Errorf("took %v, want the part's 100ms", took)
		}
		contains(t, got, `"data":{"order":{"id":"o0","ticket":null}}`, `"code":"UNAVAILABLE"`, `"elapsedMs":100`)
		start = time.Now()
		got = ask(t, schema, `{order(id:"o0"){fallen{orderId status}}}`, "")
		if took := time.Since(start); took != 4*time.Second {
			t.Errorf("took %v, want four fifths of the 5s left", took)
		}
		contains(t, got, `"data":{"order":{"fallen":{"orderId":"none","status":"OPEN"}}}`, `"extensions":{"degraded":[{`, `"path":["order","fallen"]`)
	})
}

func TestSomebodyElsesOrderIsNullWithNotFound(t *testing.T) {
	got := ask(t, newShop().load(t, quiet), `{order(id:"not-mine"){id}}`, "")
	contains(t, got, `"data":{"order":null}`, `"path":["order"]`, `"code":"NOT_FOUND"`, `"message":"no such order"`)
}

func TestErrorsOfServicesBecomeCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{connect.NewError(connect.CodeUnauthenticated, "m"), `"extensions":{"code":"UNAUTHENTICATED","service":"order"`},
		{connect.NewError(connect.CodePermissionDenied, "m"), `"extensions":{"code":"FORBIDDEN"`},
		{rpi.InvalidField("line_items[0].menu_item_id", "is unknown"), `"code":"BAD_USER_INPUT","field":"input.lineItems[0].menuItemId"`},
		{rpi.InvalidField("wait_ms", "is too long"), `"field":"waitMs"`},
		{rpi.Refuse(connect.CodeFailedPrecondition, "ORDER_CLOSED", "m"), `"code":"CONFLICT","reason":"ORDER_CLOSED"`},
		{rpi.Refuse(connect.CodeUnavailable, "NOT_YET", "m"), `"code":"NOT_YET"`},
		{connect.NewError(connect.CodeAlreadyExists, "m"), `"code":"CONFLICT"`},
		{connect.NewError(connect.CodeResourceExhausted, "m"), `"code":"RATE_LIMITED"`},
		{connect.NewError(connect.CodeDeadlineExceeded, "m"), `"code":"UNAVAILABLE"`},
		{errors.New("password=secret"), `{"message":"internal error",`},
		{connect.NewError(connect.CodeInternal, "secret"), `"code":"INTERNAL"`},
	} {
		s := newShop()
		s.fail["PlaceOrder"] = c.err
		got := ask(t, s.load(t, quiet), `mutation{placeOrder(input:{consumerId:"c",lineItems:[],deliveryAddress:{street1:"s"}}){id}}`, "")
		contains(t, got, c.want, `"data":null`)
		if strings.Contains(got, "secret") {
			t.Errorf("the cause leaked: %s", got)
		}
	}
}

func TestAListWithASingularJoinIsRefusedAtLoad(t *testing.T) {
	sdl := `type Query { orders(consumerId: ID!): [Order!]! @rpc(service: "history", method: "cleave.graphqltest.shop.v1.HistoryService/ListOrders", items: "orders") }
type Order { id: ID!
  consumer: Consumer @rpc(service: "consumer", method: "cleave.graphqltest.shop.v1.ConsumerService/GetConsumer", in: {id: "$parent.consumerId"}) }
type Consumer { id: ID! }`
	_, err := graphql.Load(sdl, &graphql.Options{Client: newShop().clients()})
	if err == nil {
		t.Fatal("loaded")
	}
	contains(t, err.Error(), "schema:3: Order.consumer: would call /cleave.graphqltest.shop.v1.ConsumerService/GetConsumer once per element of a list")
}

func TestABoundedSingularJoinMakesOneCallPerDistinctKey(t *testing.T) {
	s := newShop()
	s.rows, s.people = 6, 3
	schema := s.load(t, quiet)
	got := ask(t, schema, `{pastOrders(consumerId:"c"){consumer{orders(first:1){pageInfo{hasNextPage}}}}}`, "")
	if s.counts["ListOrders"] != 3 {
		t.Errorf("%d calls of ListOrders, want 1 and the 2 that max allows", s.counts["ListOrders"])
	}
	contains(t, got, "Consumer.orders is asked of more than 2 objects at once", `"code":"BAD_USER_INPUT"`)
}

func TestMutationsRunOneAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.delay["CancelOrder a"] = 30 * time.Millisecond
		s.delay["CancelOrder b"] = 20 * time.Millisecond
		s.fail["CancelOrder b"] = connect.NewError(connect.CodeFailedPrecondition, "too late")
		start := time.Now()
		got := ask(t, s.load(t, quiet), `mutation { a: cancelOrder(id: "a") { consumer { id } } b: cancelOrder(id: "b") { id } a2: cancelOrder(id: "a") { id } }`, "")
		if took := time.Since(start); took != 80*time.Millisecond {
			t.Errorf("took %v, want 80ms", took)
		}
		if s.counts["CancelOrder a"] != 2 {
			t.Errorf("equal mutations were shared")
		}
		contains(t, got, `"data":{"a":{"consumer":{"id":"c0"}},"b":null,"a2":{"id":"a"}}`, `"path":["b"]`, `"code":"CONFLICT"`)
	})
}

func TestFragmentsAliasesAndDirectives(t *testing.T) {
	s := newShop()
	schema := s.load(t, quiet)
	q := `query Q($with: Boolean!, $not: Boolean = true) {
		order(id: "o0") { ...F id2: id ... on Order @skip(if: $with) { weight } ticket @include(if: $with) { status } }
		order(id: "o0") { ... @include(if: $with) { ticket { orderId } consumer { id } } status @skip(if: true) tags @skip(if: $not) } }
		fragment F on Order { id total { amount } ...G } fragment G on Order { total { currency } }`
	want(t, ask(t, schema, q, `{"with": true}`),
		`{"data":{"order":{"id":"o0","total":{"amount":1300,"currency":"USD"},"id2":"o0","ticket":{"status":"OPEN","orderId":"o0"},"consumer":{"id":"c0"}}}}`)
	before := s.total()
	want(t, ask(t, schema, q, `{"with": false, "not": false}`),
		`{"data":{"order":{"id":"o0","total":{"amount":1300,"currency":"USD"},"id2":"o0","weight":1.5,"tags":[]}}}`)
	if n := s.total() - before; n != 1 {
		t.Errorf("%d calls, want 1: what is left out is not fetched", n)
	}
}

func TestTwoOperationsInOneDocumentStayApart(t *testing.T) {
	schema := newShop().load(t, quiet)
	doc := `query A { order(id: "a") { id } } query B { order(id: "b") { id } }`
	for range 2 {
		for name, id := range map[string]string{"A": "a", "B": "b"} {
			got := text(t, schema.Execute(t.Context(), graphql.Request{Query: doc, OperationName: name}))
			want(t, got, fmt.Sprintf(`{"data":{"order":{"id":%q}}}`, id))
		}
	}
	contains(t, ask(t, schema, doc, ""), "the document has 2 operations: name one", `"field":"operationName"`)
	contains(t, text(t, schema.Execute(t.Context(), graphql.Request{Query: doc, OperationName: "C"})), `has no operation \"C\"`)
}

func TestGoResolversAnswerStructsAndMessages(t *testing.T) {
	s := newShop()
	want(t, ask(t, s.load(t, quiet), `{home(greeting:"Hi"){greeting active{id} recent{id ticket{status} stage consumer{firstName}}}}`, ""),
		`{"data":{"home":{"greeting":"Hi","active":{"id":"h0"},"recent":[{"id":"h1","ticket":{"status":"OPEN"},"stage":"2 TICKET_STATUS_OPEN","consumer":{"firstName":"Name of c0"}},`+
			`{"id":"h2","ticket":{"status":"OPEN"},"stage":"2 TICKET_STATUS_OPEN","consumer":{"firstName":"Name of c0"}}]}}}`)
	if s.counts["BatchGetTickets"] != 1 || s.counts["BatchGetConsumers"] != 1 {
		t.Errorf("calls: %v, want one batch each", s.counts)
	}
}

func TestValuesThatDoNotFitAreErrorsOfTheirField(t *testing.T) {
	s := newShop()
	schema := s.load(t, quiet)
	for _, c := range []struct {
		name   string
		change func(*pb.Order)
		query  string
		want   string
	}{
		{"a number beyond Int", func(o *pb.Order) { o.Total.Amount = 1 << 31 }, `total{amount}`, `"path":["order","total","amount"]`},
		{"no time where one must be", func(o *pb.Order) { o.PlacedAt = nil }, `placedAt`, `"path":["order","placedAt"]`},
		{"a time beyond RFC 3339", func(o *pb.Order) { o.DeliveryTime = &timestamppb.Timestamp{Seconds: 1 << 50} }, `deliveryTime`, `"path":["order","deliveryTime"]`},
		{"an enum value nobody knows", func(o *pb.Order) { o.Status = 99 }, `status`, `"path":["order","status"]`},
		{"an enum that is not set", func(o *pb.Order) { o.Status = 0 }, `status`, `"path":["order","status"]`},
	} {
		s.order = sample("o0")
		c.change(s.order)
		got := ask(t, schema, `{order(id:"o0"){id `+c.query+`}}`, "")
		if !t.Run(c.name, func(t *testing.T) { contains(t, got, c.want, `"code":"INTERNAL"`) }) {
			continue
		}
	}
}

func TestAuthGuardsFields(t *testing.T) {
	s := newShop()
	o := graphql.Options{Client: s.clients(), Resolvers: s.resolvers(), Logger: quiet.Logger}
	schema, err := graphql.Load(shopSDL, &o)
	if err != nil {
		t.Fatal(err)
	}
	q := graphql.Request{Query: `{order(id:"o0"){id secret}}`}
	contains(t, text(t, schema.Execute(t.Context(), q)), `"data":{"order":null}`, `"code":"UNAUTHENTICATED"`)
	if s.total() != 0 {
		t.Error("a service was called for nobody")
	}
	ctx := auth.With(t.Context(), auth.Principal{Subject: "c0", Roles: []string{"consumer"}}, "")
	contains(t, text(t, schema.Execute(ctx, q)), `"data":{"order":{"id":"o0","secret":null}}`, `"code":"FORBIDDEN"`, `"path":["order","secret"]`)
	ctx = auth.With(t.Context(), auth.Principal{Subject: "a", Roles: []string{"admin"}}, "")
	want(t, text(t, schema.Execute(ctx, q)), `{"data":{"order":{"id":"o0","secret":null}}}`)
}
