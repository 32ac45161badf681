package bus

import (
	"context"
	"errors"
	"slices"
	"sync"
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
	// Meter gets, by consumer and source and, where there are several, lane:
	// cleave.consumer.lag (the age in seconds of the oldest message that has come
	// and has no effect yet, 0 when there is none), cleave.consumer.messages,
	// cleave.consumer.failures; and cleave.consumer.parked, the streams that are
	// set aside. Default: none.
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
	handled, failures metric.Int64Counter
	consumer          []attribute.KeyValue

	mu    sync.Mutex
	lanes []*gauge // of the present layout
}

// gauge is what one lane shows.
type gauge struct {
	g      *gauges
	of     metric.MeasurementOption
	oldest atomic.Int64 // when the oldest message without its effect was recorded, in µs; 0: there is none
	aside  atomic.Int64 // parked streams
}

func (c *Consumer) gauges() (g *gauges, stop func()) {
	g, stop = &gauges{}, func() {}
	t, ok := c.telemetry()
	if !ok {
		return g, stop
	}
	g.consumer = []attribute.KeyValue{attribute.String("consumer", c.Name), attribute.String("source", c.Filter.Source)}
	lag, err1 := t.Meter.Float64ObservableGauge("cleave.consumer.lag", metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest message that has come and has no effect yet."))
	parked, err2 := t.Meter.Int64ObservableGauge("cleave.consumer.parked", metric.WithDescription("Streams that are set aside."))
	handled, err3 := t.Meter.Int64Counter("cleave.consumer.messages", metric.WithDescription("Messages that have their effect."))
	failures, err4 := t.Meter.Int64Counter("cleave.consumer.failures", metric.WithDescription("Tries that failed."))
	if errors.Join(err1, err2, err3, err4) != nil {
		return g, stop
	}
	shown, err := t.Meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		g.mu.Lock()
		defer g.mu.Unlock()
		for i, l := range g.lanes {
			o.ObserveFloat64(lag, l.age().Seconds(), l.of)
			if i == 0 { // each lane knows the streams of all
				o.ObserveInt64(parked, l.aside.Load(), metric.WithAttributes(g.consumer...))
			}
		}
		return nil
	}, lag, parked)
	if err != nil {
		return g, stop
	}
	g.handled, g.failures = handled, failures
	return g, func() { _ = shown.Unregister() }
}

// lane returns the gauge of a lane; that of the first begins a new layout.
func (g *gauges) lane(index, of int) *gauge {
	attrs := g.consumer
	if of > 1 {
		attrs = append(slices.Clip(attrs), attribute.Int("lane", index))
	}
	l := &gauge{g: g, of: metric.WithAttributeSet(attribute.NewSet(attrs...))}
	g.mu.Lock()
	defer g.mu.Unlock()
	if index == 0 {
		g.lanes = nil
	}
	g.lanes = append(g.lanes, l)
	return l
}

func (l *gauge) age() time.Duration {
	at := l.oldest.Load()
	if at == 0 {
		return 0
	}
	return max(0, time.Since(time.UnixMicro(at)))
}

// waiting says which messages have no effect yet.
func (l *gauge) waiting(batch []Message) {
	if len(batch) == 0 {
		l.oldest.Store(0)
		return
	}
	l.oldest.Store(max(1, batch[0].Time.UnixMicro()))
}

// parked says how many streams are set aside.
func (l *gauge) parked(n int) { l.aside.Store(int64(n)) }

func (l *gauge) add(ctx context.Context, handled int) {
	if l.g.handled != nil && handled > 0 {
		l.g.handled.Add(ctx, int64(handled), l.of)
	}
}

func (l *gauge) failed(ctx context.Context) {
	if l.g.failures != nil {
		l.g.failures.Add(ctx, 1, l.of)
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
