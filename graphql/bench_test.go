package graphql_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/graphql"
)

// BenchmarkListWithOneJoin answers 100 rows joined to 10 consumers: two calls.
func BenchmarkListWithOneJoin(b *testing.B) {
	s := newShop()
	s.rows, s.people = 100, 10
	schema := s.load(b, quiet)
	req := graphql.Request{Query: `query($c: ID!) { pastOrders(consumerId: $c) { id total { amount } stage2: status serial consumer { id firstName } } }`, Variables: map[string]any{"c": "c"}}
	b.ReportAllocs()
	for b.Loop() {
		if r := schema.Execute(context.Background(), req); len(r.Errors) > 0 {
			b.Fatal(r.Errors)
		}
	}
}

// BenchmarkPlainList answers 100 rows of one call.
func BenchmarkPlainList(b *testing.B) {
	s := newShop()
	s.rows = 100
	schema := s.load(b, quiet)
	req := graphql.Request{Query: `{ pastOrders(consumerId: "c") { id } }`}
	b.ReportAllocs()
	for b.Loop() {
		schema.Execute(context.Background(), req)
	}
}

// BenchmarkTypename is the cost of a request that calls nobody.
func BenchmarkTypename(b *testing.B) {
	schema := newShop().load(b, quiet)
	b.ReportAllocs()
	for b.Loop() {
		schema.Execute(context.Background(), graphql.Request{Query: `{ __typename }`})
	}
}

// FuzzExecute sends any document: the answer is JSON and an error is never INTERNAL.
func FuzzExecute(f *testing.F) {
	for _, q := range []string{
		`{order(id:"1"){id ...F consumer @skip(if:$x){id}}} fragment F on Order {stage ticket{status}}`,
		`mutation($in:PlaceOrderInput!){placeOrder(input:$in){id}}`, `{home{recent{id ticket{status}}} __type(name:"Order"){fields{name}}}`,
		`query($e:Everything={i:1,o:{l:[1,2]}}){echo(in:$e)}`, `{a:orders(consumerId:1,status:APPROVED,first:-1){nodes{notes{text}}}}`, "subscription{orderChanged(id:1){id}}",
		`{order(id:"` + "\xff" + `"){id}}`, `"""x"""{__typename}`,
	} {
		f.Add(q, `{"x":true,"in":{"lineItems":[{}]},"e":{"f":1e5}}`)
	}
	o := quiet
	o.Introspection = true
	schema := newShop().load(f, o)
	f.Fuzz(func(t *testing.T, query, variables string) {
		var vars map[string]any
		d := json.NewDecoder(strings.NewReader(variables))
		d.UseNumber()
		_ = d.Decode(&vars)
		resp := schema.Execute(t.Context(), graphql.Request{Query: query, Variables: vars})
		got := text(t, resp)
		if strings.Contains(got, "INTERNAL") {
			t.Errorf("%q with %s: %s", query, variables, got)
		}
	})
}
