package graphql_test

import (
	"context"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/graphql"
)

const (
	getOrder    = `@rpc(service: "order", method: "cleave.graphqltest.shop.v1.OrderService/GetOrder")`
	placeOrder  = `@rpc(service: "order", method: "cleave.graphqltest.shop.v1.OrderService/PlaceOrder")`
	batchOf     = `@rpc(service: "k", method: "cleave.graphqltest.shop.v1.KitchenService/BatchGet", in: {ids: "$batch.id"}, `
	kitchenName = `cleave.graphqltest.shop.v1.KitchenService/`
)

func TestLoadRefusesWhatCouldOnlyFailLater(t *testing.T) {
	for _, c := range []struct{ name, sdl, want string }{
		{"a graph that is not GraphQL", `type Query {`, "Expected Name"},
		{"a graph without queries", `type A { a: Int }`, "no type Query"},
		{"an unknown type", `type Query { a: B }`, "Undefined type B"},
		{"an unknown directive", `type Query { a: Int @rcp }`, "Undefined directive rcp"},
		{"a root field without a source", `type Query { a: Int }`, "schema:1: Query.a: has neither @rpc nor a Go resolver"},
		{"an interface", `type Query { a: I ` + getOrder + ` } interface I { id: ID }`, "interfaces and unions are not supported"},
		{"a method that is not named right", `type Query { a: Int @rpc(service: "s", method: "GetOrder") }`, "not of the form package.Service/Method"},
		{"a service that is not linked in", `type Query { a: Int @rpc(service: "s", method: "x.Y/Z") }`, "whose generated package is not linked in"},
		{"a method that does not exist", `type Query { a: Int @rpc(service: "s", method: "` + kitchenName + `Nope") }`, "has no method Nope"},
		{"a streaming method", `type Query { a: Int @rpc(service: "s", method: "` + kitchenName + `Watch") }`, "is a streaming method"},
		{"an argument that goes nowhere", `type Query { order(id: ID!, x: Int): O ` + getOrder + ` } type O { id: ID! }`, "argument x goes nowhere: no field of cleave.graphqltest.shop.v1.GetOrderRequest takes it"},
		{"an input's field that goes nowhere", `type Query { a(input: I): O ` + placeOrder + ` } type O { id: ID! } input I { consumerId: ID! lost: Int }`, "argument input.lost goes nowhere"},
		{"an argument of another type", `type Query { order(id: Int!): O ` + getOrder + ` } type O { id: ID! }`, "argument id: Int! cannot be sent as string"},
		{"a nested input of another shape", `type Query { a(input: I): O ` + placeOrder + ` } type O { id: ID! } input I { deliveryAddress: A } input A { street9: String }`, "A.street9: cleave.graphqltest.shop.v1.Address has no such field"},
		{"an enum input that the proto does not have", `type Query { a(want: E): O ` + placeOrder + ` } type O { id: ID! } enum E { APPROVED LOST }`, "E.LOST is not a value of"},
		{"a constant of another type", `type Query { order: O @rpc(service: "order", method: "cleave.graphqltest.shop.v1.OrderService/PlaceOrder", in: {waitMs: "soon"}) } type O { id: ID! }`, `wait_ms: "soon" is not a whole number`},
		{"a request field that does not exist", `type Query { order: O @rpc(service: "order", method: "cleave.graphqltest.shop.v1.OrderService/GetOrder", in: {uid: "x"}) } type O { id: ID! }`, "GetOrderRequest has no field uid"},
		{"an argument that does not exist", `type Query { order: O @rpc(service: "order", method: "cleave.graphqltest.shop.v1.OrderService/GetOrder", in: {id: "$args.id"}) } type O { id: ID! }`, "there is no argument id"},
		{"an unknown source of a value", `type Query { order: O @rpc(service: "order", method: "cleave.graphqltest.shop.v1.OrderService/GetOrder", in: {id: "$arg.id"}) } type O { id: ID! }`, "neither $args"},
		{"a field the message does not have", `type Query { order(id: ID!): O ` + getOrder + ` } type O { id: ID! nope: Int }`, "O.nope: cleave.graphqltest.shop.v1.Order has no field nope"},
		{"a field of another type", `type Query { order(id: ID!): O ` + getOrder + ` } type O { id: Int! }`, "is Int, which cannot be read from string"},
		{"a list that is none", `type Query { order(id: ID!): O ` + getOrder + ` } type O { id: [ID!] }`, "cannot be read from string"},
		{"an enum that misses a value", `type Query { order(id: ID!): O ` + getOrder + ` } type O { status: S } enum S { PENDING APPROVED }`, "does not know the value REJECTED"},
		{"an object that is a scalar", `type Query { order(id: ID!): O ` + getOrder + ` } type O { id: P } type P { a: Int }`, "is an object, but"},
		{"an unreachable service at once", `type Query { order(id: ID!): O ` + getOrder + ` } type O { a: Int ` + batchOf + `items: "tickets", key: "orderId") }`, "answers an object or a list of objects"},
		{"a batch without a key", `type Query { order(id: ID!): O ` + getOrder + ` } type O { t: T ` + batchOf + `items: "tickets") } type T { orderId: ID }`, "needs items and key"},
		{"a key that is not there", `type Query { order(id: ID!): O ` + getOrder + ` } type O { t: T ` + batchOf + `items: "tickets", key: "id") } type T { orderId: ID }`, "Ticket has no field id"},
		{"a batch on a root", `type Query { t: T ` + batchOf + `items: "tickets", key: "orderId") } type T { orderId: ID }`, "is a root field"},
		{"a batch over a method that changes something", `type Query { order(id: ID!): O ` + getOrder + ` } type O { o: O @rpc(service: "o", method: "cleave.graphqltest.shop.v1.OrderService/PlaceOrder", in: {lineItems: "$batch.id"}) }`, "not a list of scalars"},
		{"a parent's value of another type", `type Query { order(id: ID!): O ` + getOrder + ` } type O { o: O @rpc(service: "o", method: "cleave.graphqltest.shop.v1.OrderService/GetOrder", in: {id: "$parent.weight"}) }`, "is a double, not a string"},
		{"two sources", `type Query { order(id: ID!): O ` + getOrder + ` } type O { id: ID @source(field: "id") ` + getOrder + ` }`, "from 2 places"},
		{"arguments on a plain field", `type Query { order(id: ID!): O ` + getOrder + ` } type O { id(x: Int): ID }`, "has arguments, which only"},
		{"a bad timeout", `type Query { order(id: ID!): O ` + getOrder + ` @optional(timeout: "soon") } type O { id: ID }`, "not a duration"},
		{"optional but not nullable", `type Query { order(id: ID!): O! ` + getOrder + ` @optional } type O { id: ID }`, "not nullable and without a fallback"},
		{"public and for roles", `type Query { order(id: ID!): O ` + getOrder + ` @auth(public: true, roles: ["a"]) } type O { id: ID }`, "either public or for roles"},
		{"max beyond reason", `type Query { order(id: ID!): O @rpc(service: "order", method: "cleave.graphqltest.shop.v1.OrderService/GetOrder", max: 0) } type O { id: ID }`, "max must be 1 to 10000"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := graphql.Load("scalar DateTime "+c.sdl, &graphql.Options{Client: newShop().clients()})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("err = %v, want it to contain %q", err, c.want)
			}
		})
	}
}

func TestLoadChecksResolvers(t *testing.T) {
	fn := func(context.Context, []graphql.Parent) ([]any, error) { return nil, nil }
	sdl := `type Query { a: A } type A { x: Int y: Int }`
	for _, c := range []struct {
		name      string
		resolvers map[string]graphql.Resolver
		want      string
	}{
		{"of no field", map[string]graphql.Resolver{"Query.b": {Resolve: fn}}, `"Query.b" belongs to no field`},
		{"without a function", map[string]graphql.Resolver{"Query.a": {}}, "has no function"},
		{"that requires a stranger", map[string]graphql.Resolver{"Query.a": {Resolve: fn}, "A.x": {Resolve: fn, Requires: []string{"z"}}}, `requires "z", which A does not have`},
		{"that requires one that requires", map[string]graphql.Resolver{"Query.a": {Resolve: fn}, "A.x": {Resolve: fn, Requires: []string{"y"}}, "A.y": {Resolve: fn, Requires: []string{"x"}}}, "requires fields itself"},
	} {
		if _, err := graphql.Load(sdl, &graphql.Options{Resolvers: c.resolvers}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("a resolver %s: err = %v, want %q", c.name, err, c.want)
		}
	}
}

func TestIntrospectionShowsThePublicSchemaOnly(t *testing.T) {
	o := quiet
	o.Introspection = true
	schema := newShop().load(t, o)
	got := ask(t, schema, `{__schema{queryType{name} mutationType{name} subscriptionType{name} types{name fields(includeDeprecated:true){name}} directives{name}}}`, "")
	contains(t, got, `"queryType":{"name":"Query"}`, `"subscriptionType":{"name":"Subscription"}`, `{"name":"Order","fields":[{"name":"id"}`, `{"name":"skip"}`)
	for _, hidden := range []string{"hiddenTicket", "CleaveMapping", `"rpc"`, "optional", `"defer"`} {
		if strings.Contains(got, hidden) {
			t.Errorf("%s is visible", hidden)
		}
	}
	want(t, ask(t, schema, `{__type(name:"MoneyInput"){kind inputFields{name defaultValue type{kind ofType{kind name}}}} n:__type(name:"Nope"){name}}`, ""),
		`{"data":{"__type":{"kind":"INPUT_OBJECT","inputFields":[{"name":"amount","defaultValue":null,"type":{"kind":"NON_NULL","ofType":{"kind":"SCALAR","name":"Int"}}},`+
			`{"name":"currency","defaultValue":"\"USD\"","type":{"kind":"NON_NULL","ofType":{"kind":"SCALAR","name":"String"}}}]},"n":null}}`)
	contains(t, ask(t, schema, `{__type(name:"Query"){fields{name args{name defaultValue}}}}`, ""), `{"name":"first","defaultValue":"20"}`)
	contains(t, ask(t, schema, `{order(id:"1"){hiddenTicket{status}}}`, ""), `Cannot query field`)
}

func TestIntrospectionIsOffUnlessAskedFor(t *testing.T) {
	schema := newShop().load(t, quiet)
	for _, q := range []string{`{__schema{queryType{name}}}`, `{__type(name:"Order"){name}}`, `query{...F} fragment F on Query{__schema{queryType{name}}}`} {
		contains(t, ask(t, schema, q, ""), "introspection is switched off", `"code":"BAD_USER_INPUT"`)
	}
	want(t, ask(t, schema, `{__typename}`, ""), `{"data":{"__typename":"Query"}}`)
	if got := ask(t, schema, `{ordr(id:"1"){id}}`, ""); strings.Contains(got, "Did you mean") {
		t.Errorf("a suggestion tells the schema: %s", got)
	}
}
