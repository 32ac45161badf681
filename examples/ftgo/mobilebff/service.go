// Package mobilebff is the backend for the mobile frontend: small screens, few round trips, text ready to show.
package mobilebff

import (
	"context"
	_ "embed"
	"time"

	"github.com/cleave-go/cleave/gateway"
	"github.com/cleave-go/cleave/graphql"
	"github.com/cleave-go/cleave/limit"
	"github.com/cleave-go/cleave/service"
)

//go:embed graph.graphql
var graph string

// New registers the gateway with host.
func New(_ context.Context, host *service.Host) error {
	schema, err := graphql.Load(graph, &graphql.Options{
		Client: host.Client, Resolvers: newScreens(host.Client).resolvers(),
		Logger: host.Logger(), Introspection: true,
	})
	if err != nil {
		return err
	}
	handler, err := gateway.New(schema, &gateway.Options{
		Verifier:  host.Verifier(),
		Rate:      limit.Rate{Events: 500, Per: time.Second, Burst: 1000},
		Telemetry: gateway.Telemetry{Logger: host.Logger(), Meter: host.Meter(), Tracer: host.Tracer()},
	})
	if err != nil {
		return err
	}
	host.Edge("127.0.0.1:8081")
	host.Handle("/", handler)
	return nil
}
