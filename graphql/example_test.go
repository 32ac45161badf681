package graphql_test

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/cleave-go/cleave/graphql"
	pb "github.com/cleave-go/cleave/internal/shop"
)

// The order's text is made in Go from the order and from the consumer that a
// hidden join fetches: one batch call, however many orders there are.
func Example() {
	const sdl = `
type Query {
  pastOrders(consumerId: ID!): [Card!]! @auth(public: true)
    @rpc(service: "history", method: "cleave.graphqltest.shop.v1.HistoryService/ListOrders", items: "orders")
}
type Card {
  id: ID!
  text: String!
  consumer: Consumer @internal
    @rpc(service: "consumer", method: "cleave.graphqltest.shop.v1.ConsumerService/BatchGet", in: {ids: "$batch.consumerId"}, items: "consumers", key: "id")
}
type Consumer { firstName: String! }`

	text := func(_ context.Context, cards []graphql.Parent) ([]any, error) {
		out := make([]any, len(cards))
		for i, card := range cards {
			consumer, err := card.Required("consumer")
			if err != nil {
				out[i] = err
				continue
			}
			out[i] = card.Value().(*pb.PastOrder).Status + " for " + consumer.(*pb.Consumer).FirstName
		}
		return out, nil
	}
	schema, err := graphql.Load(sdl, &graphql.Options{
		Client:    newShop().clients(),
		Resolvers: map[string]graphql.Resolver{"Card.text": {Requires: []string{"consumer"}, Resolve: text}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	resp := schema.Execute(context.Background(), graphql.Request{Query: `{ pastOrders(consumerId: "c0") { id text } }`})
	body, _ := json.Marshal(resp)
	fmt.Println(string(body), resp.Stats.Calls)
	// Output:
	// {"data":{"pastOrders":[{"id":"o0","text":"APPROVED for Name of c0"},{"id":"o1","text":"APPROVED for Name of c1"},{"id":"o2","text":"APPROVED for Name of c0"}]}} 2
}
