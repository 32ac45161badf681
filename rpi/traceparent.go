package rpi

import (
	"context"
	"encoding/hex"
	"strings"

	"connectrpc.com/connect/v2"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// propagator carries traces in the W3C headers. What is in this file does the
// same for the usual case, no tracestate, at a third of the cost.
var propagator = propagation.TraceContext{}

// The names of the headers as connect.Header keeps them: looking for another
// spelling costs an allocation.
const (
	traceHeader      = "Traceparent"
	traceStateHeader = "Tracestate"
)

// carrier lets a propagator read and write a connect.Header.
type carrier struct{ *connect.Header }

func (c carrier) Keys() []string {
	var keys []string
	for k := range c.All() {
		keys = append(keys, k)
	}
	return keys
}

// injectTrace writes the trace that ctx is in.
func injectTrace(ctx context.Context, h *connect.Header) {
	s := trace.SpanContextFromContext(ctx)
	if !s.IsValid() {
		return
	}
	if s.TraceState().Len() > 0 {
		propagator.Inject(ctx, carrier{h})
		return
	}
	h.Set(traceHeader, traceparent(s))
}

// extractTrace returns ctx in the trace that h names.
func extractTrace(ctx context.Context, h *connect.Header) context.Context {
	parent := field(h, traceHeader)
	if parent == "" {
		return ctx
	}
	if s, ok := parseTrace(parent); ok && !h.Has(traceStateHeader) {
		return trace.ContextWithRemoteSpanContext(ctx, s)
	}
	return propagator.Extract(ctx, carrier{h})
}

// The parts of a traceparent: 00-<trace id>-<span id>-<flags>.
const (
	traceAt, spanAt, flagsAt = 3, 36, 53
	traceparentSize          = 55
)

// traceparent returns what s is called in a header.
func traceparent(s trace.SpanContext) string {
	text := [traceparentSize]byte{0: '0', 1: '0', 2: '-', spanAt - 1: '-', flagsAt - 1: '-', flagsAt: '0', flagsAt + 1: '0'}
	traceID, spanID := s.TraceID(), s.SpanID()
	hex.Encode(text[traceAt:], traceID[:])
	hex.Encode(text[spanAt:], spanID[:])
	if s.IsSampled() {
		text[flagsAt+1] = '1'
	}
	return string(text[:])
}

// parseTrace reads a traceparent of the usual kind; for any other the
// propagator is to be asked.
func parseTrace(text string) (trace.SpanContext, bool) {
	if len(text) != traceparentSize || !strings.HasPrefix(text, "00-") || text[spanAt-1] != '-' || text[flagsAt-1] != '-' {
		return trace.SpanContext{}, false
	}
	config := trace.SpanContextConfig{Remote: true}
	switch text[flagsAt:] {
	case "00":
	case "01":
		config.TraceFlags = trace.FlagsSampled
	default:
		return trace.SpanContext{}, false
	}
	if strings.ContainsAny(text, "ABCDEF") {
		return trace.SpanContext{}, false
	}
	if _, err := hex.Decode(config.TraceID[:], []byte(text[traceAt:spanAt-1])); err != nil {
		return trace.SpanContext{}, false
	}
	if _, err := hex.Decode(config.SpanID[:], []byte(text[spanAt:flagsAt-1])); err != nil {
		return trace.SpanContext{}, false
	}
	s := trace.NewSpanContext(config)
	return s, s.IsValid()
}
