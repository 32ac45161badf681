package rpi

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/cleave-go/cleave/breaker"
)

// stopwatch measures how long calls take. A nil one measures none.
type stopwatch struct {
	duration metric.Float64Histogram
	options  sync.Map // of ending: []metric.RecordOption
	size     atomic.Int64
}

// ending is what is told of a call beside how long it took.
type ending struct{ procedure, code string }

// mostEndings bounds what a stopwatch keeps.
const mostEndings = 10_000

func newStopwatch(m metric.Meter, name, description string) *stopwatch {
	if m == nil {
		return nil
	}
	h, err := m.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description))
	if err != nil {
		return nil
	}
	return &stopwatch{duration: h}
}

// begin returns when a call begins.
func (w *stopwatch) begin() (t time.Time) {
	if w != nil {
		t = time.Now()
	}
	return t
}

// end measures a call that began at begin and ends now with err.
func (w *stopwatch) end(ctx context.Context, begin time.Time, spec connect.Spec, err error) {
	if w != nil {
		w.duration.Record(ctx, time.Since(begin).Seconds(), w.of(ending{spec.Procedure, codeText(err)})...)
	}
}

func (w *stopwatch) of(e ending) []metric.RecordOption {
	if known, ok := w.options.Load(e); ok {
		return known.([]metric.RecordOption)
	}
	made := []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(
		attribute.String("rpc.method", methodName(e.procedure)), attribute.String("rpc.code", e.code)))}
	if w.size.Add(1) <= mostEndings {
		w.options.Store(e, made)
	}
	return made
}

// codeText names how a call ended.
func codeText(err error) string {
	if err == nil {
		return "ok"
	}
	if e, ok := errors.AsType[*connect.Error](err); ok && e != nil {
		return e.Code().String()
	}
	return codeOf(err).String()
}

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
