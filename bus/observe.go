package bus

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/cleave-go/cleave/event"
)

// Telemetry is where the consumers of a bus show what they do.
type Telemetry struct {
	// Tracer makes a span of each try of a message whose trace is sampled; what
	// is recorded in it names that span. Default: none.
	Tracer trace.Tracer
	// Meter gets, by consumer and source, cleave.consumer.lag (the age in
	// seconds of the oldest message that has come and has no effect yet, 0 when
	// there is none), cleave.consumer.messages and cleave.consumer.failures.
	// Default: none.
	Meter metric.Meter
}

// Observed returns b for consumers that show what they do, and that handle a
// message within its trace: what Handle logs and calls carries the trace's id.
func Observed(b Bus, t Telemetry) Bus {
	if t.Tracer == nil {
		t.Tracer = tracenoop.Tracer{}
	}
	if t.Meter == nil {
		t.Meter = metricnoop.Meter{}
	}
	o := observed{b, t}
	if s, ok := b.(Searcher); ok {
		return struct {
			observed
			Searcher
		}{o, s}
	}
	return o
}

type observed struct {
	Bus
	telemetry Telemetry
}

func (o observed) observers() Telemetry { return o.telemetry }

// telemetry is that of the consumer's bus.
func (c *Consumer) telemetry() (Telemetry, bool) {
	o, ok := c.Bus.(interface{ observers() Telemetry })
	if !ok {
		return Telemetry{}, false
	}
	return o.observers(), true
}

// gauges are what a running consumer shows. The zero value shows nothing.
type gauges struct {
	oldest            atomic.Int64 // when the oldest message without its effect was recorded, in µs; 0: there is none
	handled, failures metric.Int64Counter
	of                metric.MeasurementOption
}

func (c *Consumer) gauges() (g *gauges, stop func()) {
	g, stop = &gauges{}, func() {}
	t, ok := c.telemetry()
	if !ok {
		return g, stop
	}
	g.of = metric.WithAttributeSet(attribute.NewSet(attribute.String("consumer", c.Name), attribute.String("source", c.Filter.Source)))
	lag, err1 := t.Meter.Float64ObservableGauge("cleave.consumer.lag", metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest message that has come and has no effect yet."))
	handled, err2 := t.Meter.Int64Counter("cleave.consumer.messages", metric.WithDescription("Messages that have their effect."))
	failures, err3 := t.Meter.Int64Counter("cleave.consumer.failures", metric.WithDescription("Tries that failed and are made again."))
	if errors.Join(err1, err2, err3) != nil {
		return g, stop
	}
	shown, err := t.Meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		age := 0.0
		if at := g.oldest.Load(); at != 0 {
			age = max(0, time.Since(time.UnixMicro(at)).Seconds())
		}
		o.ObserveFloat64(lag, age, g.of)
		return nil
	}, lag)
	if err != nil {
		return g, stop
	}
	g.handled, g.failures = handled, failures
	return g, func() { _ = shown.Unregister() }
}

// waiting says which messages have no effect yet.
func (g *gauges) waiting(batch []Message) {
	if g.handled == nil {
		return
	}
	if len(batch) == 0 {
		g.oldest.Store(0)
		return
	}
	g.oldest.Store(max(1, batch[0].Time.UnixMicro()))
}

func (g *gauges) add(ctx context.Context, handled int) {
	if g.handled != nil && handled > 0 {
		g.handled.Add(ctx, int64(handled), g.of)
	}
}

func (g *gauges) failed(ctx context.Context) {
	if g.failures != nil {
		g.failures.Add(ctx, 1, g.of)
	}
}

var traceContext propagation.TraceContext

// within puts ctx into the trace of m, and into a span of its own if that is
// sampled; meta then names the span. end is not nil if there is one.
func (t Telemetry) within(ctx context.Context, consumer string, m Message, meta *event.Meta) (_ context.Context, end func(error)) {
	if meta.TraceParent == "" {
		return ctx, nil
	}
	ctx = traceContext.Extract(ctx, propagation.MapCarrier{"traceparent": meta.TraceParent})
	if !trace.SpanContextFromContext(ctx).IsSampled() {
		return ctx, nil
	}
	ctx, span := t.Tracer.Start(ctx, "process "+m.Type, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attribute.String("messaging.system", "cleave"),
		attribute.String("messaging.operation.type", "process"),
		attribute.String("messaging.destination.name", m.Subject),
		attribute.String("messaging.message.id", m.ID.String()),
		attribute.String("messaging.consumer.group.name", consumer),
	))
	c := propagation.MapCarrier{}
	traceContext.Inject(ctx, c)
	meta.TraceParent = c.Get("traceparent")
	return ctx, func(err error) {
		if err != nil && !errors.Is(err, ErrNotYet) {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}
