package gateway_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/cleave-go/cleave/gateway"
)

// meter adds up its counters by name and attributes.
type meter struct {
	noop.Meter
	mu   sync.Mutex
	sums map[string]int64
}

type counter struct {
	noop.Int64Counter
	m    *meter
	name string
}

func (m *meter) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return counter{m: m, name: name}, nil
}

func (c counter) Add(_ context.Context, n int64, o ...metric.AddOption) {
	set := metric.NewAddConfig(o).Attributes()
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	label := c.name
	for _, kv := range set.ToSlice() {
		label += fmt.Sprintf(" %s=%v", kv.Key, kv.Value.AsInterface())
	}
	c.m.sums[label] += n
}

func TestRequestsAreMeasuredByOperation(t *testing.T) {
	m := &meter{sums: map[string]int64{}}
	f := start(t, gateway.Options{Telemetry: gateway.Telemetry{Meter: m}})
	me := f.token(t, "c1", time.Hour)
	f.send(t, `query Mine {a: consumer(id:"1"){id} b: consumer(id:"2"){id}}`, "Authorization", me)
	f.send(t, `{nope}`)
	f.send(t, `{nope}`, "Accept", "text/html")
	f.send(t, "/nowhere")
	if resp, _ := f.send(t, "/consumers/1", ":method", "DELETE"); resp.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("allowed is %q", resp.Header.Get("Allow"))
	}
	for i := range 300 {
		f.send(t, fmt.Sprintf(`query Q%d {consumer(id:"1"){id}}`, i), "Authorization", f.token(t, fmt.Sprint("c", i%10), time.Hour))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for label, want := range map[string]int64{
		"cleave.gateway.requests code= status=200":                 301,
		"cleave.gateway.requests code=BAD_USER_INPUT status=200":   1,
		"cleave.gateway.requests code=BAD_USER_INPUT status=406":   1,
		"cleave.gateway.requests code=NOT_FOUND status=404":        1,
		"cleave.gateway.requests code=BAD_USER_INPUT status=405":   1,
		"cleave.gateway.upstream.calls kind=query operation=Mine":  2,
		"cleave.gateway.upstream.calls kind=query operation=Q1":    1,
		"cleave.gateway.upstream.calls kind=query operation=other": 101,
	} {
		if m.sums[label] != want {
			t.Errorf("%s is %d, want %d", label, m.sums[label], want)
		}
	}
}
