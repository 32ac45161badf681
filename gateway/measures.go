package gateway

import (
	"context"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/cleave-go/cleave/graphql"
)

// measures are the gateway's instruments; nil without a meter.
type measures struct {
	requests metric.Int64Counter
	duration metric.Float64Histogram
	calls    metric.Int64Counter

	mu    sync.Mutex
	names map[string]bool
}

// maxOperations bounds the label that clients choose.
const maxOperations = 200

func newMeasures(m metric.Meter) (*measures, error) {
	if m == nil {
		return nil, nil
	}
	out := &measures{names: map[string]bool{}}
	var err error
	if out.requests, err = m.Int64Counter("cleave.gateway.requests", metric.WithDescription("Requests answered, by status and the first error's code.")); err != nil {
		return nil, err
	}
	if out.duration, err = m.Float64Histogram("cleave.gateway.duration", metric.WithUnit("s"), metric.WithDescription("Time to answer, by operation.")); err != nil {
		return nil, err
	}
	out.calls, err = m.Int64Counter("cleave.gateway.upstream.calls", metric.WithDescription("Calls made to answer, by operation."))
	return out, err
}

func (m *measures) record(ctx context.Context, c *call, status int) {
	if m == nil {
		return
	}
	m.requests.Add(ctx, 1, metric.WithAttributes(attribute.Int("status", status), attribute.String("code", string(c.code))))
	op := metric.WithAttributes(attribute.String("kind", c.stats.Kind), attribute.String("operation", m.operation(c.stats)))
	m.duration.Record(ctx, time.Since(c.start).Seconds(), op)
	if c.stats.Calls > 0 {
		m.calls.Add(ctx, int64(c.stats.Calls), op)
	}
}

// operation is the name, as long as there are few.
func (m *measures) operation(s graphql.Stats) string {
	if s.Operation == "" {
		return ""
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.names[s.Operation] {
		if len(m.names) >= maxOperations {
			return "other"
		}
		m.names[s.Operation] = true
	}
	return s.Operation
}

func spanAttributes(status int, c *call) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.Int("http.response.status_code", status),
		attribute.String("graphql.operation.type", c.stats.Kind),
		attribute.String("graphql.operation.name", c.stats.Operation),
		attribute.String("cleave.code", string(c.code)),
		attribute.Int("cleave.upstream.calls", c.stats.Calls),
	}
}
