// Package webbff is the backend for the web frontend: FTGO's graph for pages, and a REST view of an order.
package webbff

import (
	"context"
	_ "embed"
	"time"

	"github.com/cleave-go/cleave/gateway"
	"github.com/cleave-go/cleave/graphql"
	"github.com/cleave-go/cleave/limit"
	"github.com/cleave-go/cleave/service"

	// The graph is checked against the services' descriptors.
	_ "github.com/cleave-go/cleave/examples/ftgo/accounting/accountingapi"
	_ "github.com/cleave-go/cleave/examples/ftgo/consumer/consumerapi"
	_ "github.com/cleave-go/cleave/examples/ftgo/delivery/deliveryapi"
	_ "github.com/cleave-go/cleave/examples/ftgo/kitchen/kitchenapi"
	_ "github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
	_ "github.com/cleave-go/cleave/examples/ftgo/orderhistory/orderhistoryapi"
	_ "github.com/cleave-go/cleave/examples/ftgo/restaurant/restaurantapi"
)

//go:embed graph.graphql
var graph string

// orderView is the REST view of an order.
const orderView = `query($id: ID!) { order(id: $id) {
	id status rejectionReason placedAt total { amount currency } lineItems { menuItemId name price { amount currency } quantity }
	consumer { id firstName lastName } restaurant { id name }
	deliveryAddress { street1 street2 city state zip } deliveryTime
	ticket { status readyBy acceptedAt } delivery { status courier { id } pickUpTime deliveryTime } payment { authorized { amount currency } reversed }
} }`

// New registers the gateway with host.
func New(_ context.Context, host *service.Host) error {
	schema, err := graphql.Load(graph, &graphql.Options{
		Client: host.Client,
		Logger: host.Logger(), Introspection: true,
	})
	if err != nil {
		return err
	}
	handler, err := gateway.New(schema, &gateway.Options{
		Verifier:  host.Verifier(),
		Rate:      limit.Rate{Events: 500, Per: time.Second, Burst: 1000},
		Views:     map[string]string{"GET /orders/{id}": orderView},
		Telemetry: gateway.Telemetry{Logger: host.Logger(), Meter: host.Meter(), Tracer: host.Tracer()},
	})
	if err != nil {
		return err
	}
	host.Edge("127.0.0.1:8080")
	host.Handle("/", handler)
	return nil
}
