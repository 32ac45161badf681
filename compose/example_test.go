package compose_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/cleave-go/cleave/compose"
)

func Example() {
	var order, ticket string
	missing, err := compose.Run(context.Background(), nil,
		compose.Part{Name: "order", Service: "order", Do: func(context.Context) error {
			order = "two pizzas"
			return nil
		}},
		compose.Part{Name: "ticket", Service: "kitchen", Optional: true, Do: func(context.Context) error {
			ticket = ""
			return errors.New("connection refused")
		}},
	)
	fmt.Printf("%q %q %v\n", order, ticket, err)
	for _, f := range missing {
		fmt.Println(f.Part, f.Service, f.Code, f.Err)
	}
	// Output:
	// "two pizzas" "" <nil>
	// ticket kitchen FAILED connection refused
}
