package rpi

import (
	"context"
	"sync"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/cleave-go/cleave/event"
)

// CorrelationHeader carries the name of the request or saga that a call
// belongs to; the events it records carry it on.
const CorrelationHeader = "Cleave-Correlation"

// maxCorrelation bounds what is taken from a header into events.
const maxCorrelation = 128

// field returns what h says of key. Many calls in the same process have no
// header at all, and connect takes its time to bring each key into form.
func field(h *connect.Header, key string) string {
	if h.Len() == 0 {
		return ""
	}
	return h.Get(key)
}

// requestMeta is what the events carry that a handler records: the correlation
// and trace of the request, and who asks. It is made when it is asked for, which
// most handlers that only read never do.
type requestMeta struct {
	correlation string // as the request has it
	once        sync.Once
	made        event.Meta
}

// of returns the metadata for a handler in ctx. An empty correlation becomes the
// trace's id, or a new one.
func (m *requestMeta) of(ctx context.Context) event.Meta {
	m.once.Do(func() {
		m.made = event.MetaFrom(ctx)
		if span := trace.SpanContextFromContext(ctx); span.IsValid() {
			m.made.TraceParent = traceparent(span)
		}
		m.made.Correlation = m.correlation
		switch {
		case m.correlation != "" && len(m.correlation) <= maxCorrelation:
		case m.made.TraceParent != "":
			m.made.Correlation = m.made.TraceParent[traceAt : spanAt-1]
		default:
			m.made.Correlation = event.NewID().String()
		}
	})
	return m.made
}

// traceOfMeta continues the trace of the message that ctx works on, unless ctx
// is in a trace already.
func traceOfMeta(ctx context.Context) context.Context {
	if trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	if tp := event.MetaFrom(ctx).TraceParent; tp != "" {
		return propagator.Extract(ctx, propagation.MapCarrier{"traceparent": tp})
	}
	return ctx
}
