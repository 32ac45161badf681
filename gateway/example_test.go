package gateway_test

import (
	"context"
	"fmt"
	"net/http/httptest"

	"github.com/cleave-go/cleave/gateway"
	"github.com/cleave-go/cleave/graphql"
)

func Example() {
	schema, err := graphql.Load(`type Query { greeting(name: String!): String! @auth(public: true) }`, &graphql.Options{
		Resolvers: map[string]graphql.Resolver{"Query.greeting": {Resolve: func(_ context.Context, p []graphql.Parent) ([]any, error) {
			return []any{fmt.Sprint("Hello, ", p[0].Args()["name"])}, nil
		}}},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	h, err := gateway.New(schema, &gateway.Options{
		Views: map[string]string{"GET /greetings/{name}": `query($name: String!) { greeting(name: $name) }`},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/greetings/Ada", nil))
	fmt.Println(w.Code, w.Body)
	// Output:
	// 200 "Hello, Ada"
}
