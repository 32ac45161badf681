package graphql_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cleave-go/cleave/graphql"
	pb "github.com/cleave-go/cleave/internal/shop"
	"github.com/cleave-go/cleave/rpi"
)

const shopSDL = `
scalar DateTime

type Query {
  order(id: ID!): Order @rpc(service: "order", method: "cleave.graphqltest.shop.v1.OrderService/GetOrder")
  orders(consumerId: ID!, status: OrderStatus, first: Int = 20, after: String): OrderConnection! @rpc(service: "history", method: "cleave.graphqltest.shop.v1.HistoryService/ListOrders")
  pastOrders(consumerId: ID!): [Order!]! @rpc(service: "history", method: "cleave.graphqltest.shop.v1.HistoryService/ListOrders", items: "orders")
  consumer(id: ID!): Consumer! @rpc(service: "consumer", method: "cleave.graphqltest.shop.v1.ConsumerService/GetConsumer")
  home(greeting: String = "Hello"): Home!
  echo(in: Everything): String
}
type Mutation {
  placeOrder(input: PlaceOrderInput!, waitMs: Int = 0): Order! @rpc(service: "order", method: "cleave.graphqltest.shop.v1.OrderService/PlaceOrder", in: {want: APPROVED})
  cancelOrder(id: ID!): Order @rpc(service: "order", method: "cleave.graphqltest.shop.v1.OrderService/CancelOrder")
  registerConsumer(input: RegisterInput!): Consumer! @rpc(service: "consumer", method: "cleave.graphqltest.shop.v1.ConsumerService/RegisterConsumer", in: {cardToken: "$args.input.card.token"})
}
type Subscription { orderChanged(id: ID!): Order! }

enum OrderStatus { PENDING APPROVED REJECTED }
enum TicketStatus { OPEN DONE }
"Minor units."
type Money { amount: Int! currency: String! }
type Address { street1: String! street2: String }
type LineItem { menuItemId: ID! quantity: Int! price: Money }
type PageInfo { hasNextPage: Boolean! endCursor: String }
type OrderConnection { nodes: [Order!]! @source(field: "orders") pageInfo: PageInfo! @source(field: ".") }
type Consumer {
  id: ID!
  firstName: String!
  orders(first: Int = 20): OrderConnection! @rpc(service: "history", method: "cleave.graphqltest.shop.v1.HistoryService/ListOrders", in: {consumerId: "$parent.id"}, max: 2)
}
type Ticket { orderId: ID! status: TicketStatus! }
type Note { text: String! }
type Order {
  id: ID!
  status: OrderStatus!
  rejectionReason: String
  placedAt: DateTime!
  deliveryTime: DateTime
  lineItems: [LineItem!]!
  total: Money!
  deliveryAddress: Address!
  weight: Float
  tags: [String!]
  serial: ID
  consumer: Consumer @rpc(service: "consumer", method: "cleave.graphqltest.shop.v1.ConsumerService/BatchGet", in: {ids: "$batch.consumerId"}, items: "consumers", key: "id", max: 3)
  ticket: Ticket @rpc(service: "kitchen", method: "cleave.graphqltest.shop.v1.KitchenService/BatchGet", in: {ids: "$batch.id"}, items: "tickets", key: "orderId") @optional(timeout: "100ms")
  surely: Ticket! @rpc(service: "kitchen", method: "cleave.graphqltest.shop.v1.KitchenService/BatchGet", in: {ids: "$batch.id"}, items: "tickets", key: "orderId")
  fallen: Ticket @rpc(service: "kitchen", method: "cleave.graphqltest.shop.v1.KitchenService/BatchGet", in: {ids: "$batch.id"}, items: "tickets", key: "orderId") @optional(fallback: {orderId: "none", status: "OPEN"})
  notes: [Note!]! @rpc(service: "kitchen", method: "cleave.graphqltest.shop.v1.KitchenService/Notes", in: {ids: "$batch.id"}, items: "notes", key: "order_id")
  hiddenTicket: Ticket @internal @rpc(service: "kitchen", method: "cleave.graphqltest.shop.v1.KitchenService/BatchGet", in: {ids: "$batch.id"}, items: "tickets", key: "orderId") @optional
  stage: String!
  secret: String @source(field: "rejectionReason") @auth(roles: ["admin"])
}
type Home { greeting: String! active: Order recent: [Order!]! }
input AddressInput { street1: String! street2: String }
input MoneyInput { amount: Int! currency: String! = "USD" }
input LineItemInput { menuItemId: ID! quantity: Int! price: MoneyInput }
input PlaceOrderInput {
  consumerId: ID!
  lineItems: [LineItemInput!]!
  deliveryAddress: AddressInput!
  deliveryTime: DateTime
  idempotencyKey: ID
}
input CardInput { token: String! }
input RegisterInput { firstName: String! card: CardInput }
input Everything { i: Int f: Float s: String b: Boolean id: ID e: OrderStatus t: DateTime l: [Int!] o: Everything }
`

// shop is four fake services behind rpi.Local, with a count of every call.
type shop struct {
	mu     sync.Mutex
	counts map[string]int
	sizes  []int // keys per batch call
	placed []*pb.PlaceOrderRequest
	listed []*pb.ListOrdersRequest
	cards  []*pb.RegisterConsumerRequest
	rows   int
	people int // distinct consumers among the rows
	fail   map[string]error
	delay  map[string]time.Duration
	order  *pb.Order
}

func (s *shop) note(ctx context.Context, call string) error {
	s.mu.Lock()
	s.counts[call]++
	err, delay := s.fail[call], s.delay[call]
	s.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (s *shop) GetOrder(ctx context.Context, r *pb.GetOrderRequest) (*pb.Order, error) {
	if err := s.note(ctx, "GetOrder"); err != nil {
		return nil, err
	}
	if r.Id == "not-mine" {
		return nil, connect.NewError(connect.CodeNotFound, "no such order")
	}
	if s.order != nil {
		return s.order, nil
	}
	return sample(r.Id), nil
}

func sample(id string) *pb.Order {
	return &pb.Order{Id: id, Status: pb.OrderStatus_APPROVED, PlacedAt: timestamppb.New(time.Date(2026, 11, 3, 18, 30, 0, 5e8, time.UTC)),
		ConsumerId: "c0", LineItems: []*pb.LineItem{{MenuItemId: "m1", Quantity: 2, Price: &pb.Money{Amount: 650, Currency: "USD"}}},
		Total: &pb.Money{Amount: 1300, Currency: "USD"}, DeliveryAddress: &pb.Address{Street1: "1 High \"Street\"\n"}, Weight: 1.5, Serial: 1 << 60}
}

func (s *shop) PlaceOrder(ctx context.Context, r *pb.PlaceOrderRequest) (*pb.Order, error) {
	s.mu.Lock()
	s.placed = append(s.placed, r)
	s.mu.Unlock()
	if err := s.note(ctx, "PlaceOrder"); err != nil {
		return nil, err
	}
	o := sample("o-new")
	o.ConsumerId = r.ConsumerId
	return o, nil
}

func (s *shop) CancelOrder(ctx context.Context, r *pb.GetOrderRequest) (*pb.Order, error) {
	if err := s.note(ctx, "CancelOrder "+r.Id); err != nil {
		return nil, err
	}
	return sample(r.Id), nil
}

func (s *shop) ListOrders(ctx context.Context, r *pb.ListOrdersRequest) (*pb.ListOrdersResponse, error) {
	s.mu.Lock()
	s.listed = append(s.listed, r)
	s.mu.Unlock()
	if err := s.note(ctx, "ListOrders"); err != nil {
		return nil, err
	}
	resp := &pb.ListOrdersResponse{HasNextPage: true}
	for i := range s.rows {
		resp.Orders = append(resp.Orders, &pb.PastOrder{Id: fmt.Sprint("o", i), Status: "APPROVED", PlacedAt: timestamppb.New(time.Unix(1e9, 0)),
			ConsumerId: fmt.Sprint("c", i%max(s.people, 1)), Total: &pb.Money{Amount: int64(i)}, DeliveryAddress: &pb.Address{}})
	}
	return resp, nil
}

func (s *shop) RegisterConsumer(ctx context.Context, r *pb.RegisterConsumerRequest) (*pb.Consumer, error) {
	s.mu.Lock()
	s.cards = append(s.cards, r)
	s.mu.Unlock()
	return &pb.Consumer{Id: "c-new", FirstName: r.FirstName}, s.note(ctx, "RegisterConsumer")
}

func (s *shop) GetConsumer(ctx context.Context, r *pb.GetConsumerRequest) (*pb.Consumer, error) {
	return &pb.Consumer{Id: r.Id, FirstName: "Ada"}, s.note(ctx, "GetConsumer")
}

type people struct{ *shop }

func (s people) BatchGet(ctx context.Context, r *pb.BatchGetRequest) (*pb.BatchGetConsumersResponse, error) {
	resp := &pb.BatchGetConsumersResponse{}
	for _, id := range r.Ids {
		if id != "c-gone" {
			resp.Consumers = append([]*pb.Consumer{{Id: id, FirstName: "Name of " + id}}, resp.Consumers...)
		}
	}
	s.mu.Lock()
	s.sizes = append(s.sizes, len(r.Ids))
	s.mu.Unlock()
	return resp, s.note(ctx, "BatchGetConsumers")
}

type kitchen struct {
	*shop
	pb.UnimplementedKitchenServiceHandler
}

func (s kitchen) BatchGet(ctx context.Context, r *pb.BatchGetRequest) (*pb.BatchGetTicketsResponse, error) {
	resp := &pb.BatchGetTicketsResponse{}
	for _, id := range r.Ids {
		resp.Tickets = append(resp.Tickets, &pb.Ticket{OrderId: id, Status: pb.TicketStatus_TICKET_STATUS_OPEN})
	}
	return resp, s.note(ctx, "BatchGetTickets")
}

func (s kitchen) Notes(ctx context.Context, r *pb.BatchGetRequest) (*pb.NotesResponse, error) {
	resp := &pb.NotesResponse{}
	for _, id := range r.Ids {
		if id != "o1" {
			resp.Notes = append(resp.Notes, &pb.Note{OrderId: id, Text: "a of " + id}, &pb.Note{OrderId: id, Text: "b of " + id})
		}
	}
	return resp, s.note(ctx, "Notes")
}

func newShop() *shop {
	return &shop{counts: map[string]int{}, fail: map[string]error{}, delay: map[string]time.Duration{}, rows: 3, people: 2}
}

func (s *shop) total() int {
	n := 0
	for _, c := range s.counts {
		n += c
	}
	return n
}

// clients serves every service from one server.
func (s *shop) clients() func(string) *connect.Client {
	server := rpi.NewServer(&rpi.ServerOptions{Logger: quiet.Logger})
	pb.RegisterOrderServiceHandler(server, s)
	pb.RegisterHistoryServiceHandler(server, s)
	pb.RegisterConsumerServiceHandler(server, people{s})
	pb.RegisterKitchenServiceHandler(server, kitchen{shop: s})
	client := connect.NewClient(rpi.Local(server, nil))
	return func(string) *connect.Client { return client }
}

func (s *shop) resolvers() map[string]graphql.Resolver {
	return map[string]graphql.Resolver{
		"Query.home": {Resolve: func(_ context.Context, p []graphql.Parent) ([]any, error) {
			type home struct {
				Greeting string
				Active   *pb.Order
				Recent   []*pb.Order
			}
			return []any{home{Greeting: p[0].Args()["greeting"].(string), Active: sample("h0"), Recent: []*pb.Order{sample("h1"), sample("h2")}}}, nil
		}},
		"Query.echo": {Resolve: func(_ context.Context, p []graphql.Parent) ([]any, error) {
			in, ok := p[0].Args()["in"]
			if !ok {
				return []any{nil}, nil
			}
			b, err := json.Marshal(in)
			return []any{string(b)}, err
		}},
		"Order.stage": {Requires: []string{"hiddenTicket", "status"}, Resolve: func(ctx context.Context, parents []graphql.Parent) ([]any, error) {
			if err := s.note(ctx, "stage"); err != nil {
				return nil, err
			}
			out := make([]any, len(parents))
			for i, p := range parents {
				ticket, err := p.Required("hiddenTicket")
				if err != nil {
					out[i] = "unknown"
					continue
				}
				status, _ := p.Required("status")
				out[i] = fmt.Sprint(status, " ", ticket.(*pb.Ticket).Status)
			}
			return out, nil
		}},
	}
}

func (s *shop) load(t testing.TB, o graphql.Options) *graphql.Schema {
	t.Helper()
	o.Client, o.Resolvers = s.clients(), s.resolvers()
	o.Anonymous = true
	schema, err := graphql.Load(shopSDL, &o)
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// ask executes query with variables written as JSON and returns the response as text.
func ask(t testing.TB, s *graphql.Schema, query, variables string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	return text(t, s.Execute(ctx, graphql.Request{Query: query, Variables: decode(t, variables)}))
}

func decode(t testing.TB, variables string) map[string]any {
	t.Helper()
	if variables == "" {
		return nil
	}
	var vars map[string]any
	d := json.NewDecoder(strings.NewReader(variables))
	d.UseNumber()
	if err := d.Decode(&vars); err != nil {
		t.Fatal(err)
	}
	return vars
}

func text(t testing.TB, r *graphql.Response) string {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatalf("the response is not JSON: %v\n%s", err, r.Data)
	}
	return string(b)
}

func want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func contains(t *testing.T, got string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			t.Errorf("got\n%s\nwant it to contain\n%s", got, p)
		}
	}
}
