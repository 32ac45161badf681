package rpi

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/cleave-go/cleave/breaker"
)

// observe shows the breaker on the meter until stop is called.
func (t *RemoteTransport) observe() (stop func()) {
	m := t.meter
	if m == nil {
		return func() {}
	}
	state, err1 := m.Int64ObservableGauge("rpc.client.breaker.state", metric.WithDescription("0 closed, 1 half-open, 2 open."))
	openings, err2 := m.Int64ObservableCounter("rpc.client.breaker.openings", metric.WithDescription("How often the breaker opened."))
	refusals, err3 := m.Int64ObservableCounter("rpc.client.breaker.refusals", metric.WithDescription("Calls that the open breaker refused."))
	if err1 != nil || err2 != nil || err3 != nil {
		return func() {}
	}
	of := metric.WithAttributes(attribute.String("rpc.service", t.service), attribute.String("caller", t.caller))
	shown, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := t.breaker.Stats()
		o.ObserveInt64(state, stateNumber(s.State), of)
		o.ObserveInt64(openings, int64(s.Openings), of)
		o.ObserveInt64(refusals, int64(s.Rejected), of)
		return nil
	}, state, openings, refusals)
	if err != nil {
		return func() {}
	}
	return func() { _ = shown.Unregister() }
}

func stateNumber(s breaker.State) int64 {
	switch s {
	case breaker.HalfOpen:
		return 1
	case breaker.Open:
		return 2
	}
	return 0
}
