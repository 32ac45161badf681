package kit_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/service"
	"github.com/cleave-go/cleave/sqldb"
)

// recorder records an event for each call.
type recorder struct {
	echoapi.UnimplementedEchoServiceHandler
	store  *sqlstore.Store
	logger *slog.Logger
}

func (r *recorder) Store(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	r.logger.InfoContext(ctx, "stored")
	_, err := r.store.Append(ctx, event.Stream{Category: "note", ID: "1"}, eventsource.Any,
		event.Record{ID: event.NewID(), Type: "note.stored", Schema: 1, Meta: event.MetaFrom(ctx), Data: []byte("{}")})
	return &echoapi.EchoResponse{}, err
}

// endedSpans are the spans that have ended.
type endedSpans chan sdktrace.ReadOnlySpan

func (endedSpans) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (e endedSpans) OnEnd(s sdktrace.ReadOnlySpan)                 { e <- s }
func (endedSpans) Shutdown(context.Context) error                  { return nil }
func (endedSpans) ForceFlush(context.Context) error                { return nil }

func TestOneTraceGoesThroughPageCallLogAndEvent(t *testing.T) {
	t.Parallel()
	ended := make(endedSpans, 16)
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(ended)).Tracer("test")
	var logs bytes.Buffer
	logger := slog.New(service.TraceHandler(slog.NewJSONHandler(&logs, nil)))
	stores := make(chan *sqlstore.Store, 1)
	notes := service.Named{Name: "notes", New: func(ctx context.Context, h *service.Host) error {
		db, err := h.DB(ctx, nil)
		if err != nil {
			return err
		}
		store := sqlstore.New(db)
		stores <- store
		echoapi.RegisterEchoServiceHandler(h.Server(), &recorder{store: store, logger: h.Logger()})
		h.Run("relay", outbox.NewRelay("notes", db, h.Bus(), nil).Run)
		return nil
	}}
	handled := make(chan event.Meta, 1)
	reader := service.Named{Name: "reader", New: func(ctx context.Context, h *service.Host) error {
		db, err := h.DB(ctx, nil)
		if err != nil {
			return err
		}
		view := bus.Consumer{Name: "view", DB: db, Bus: h.Bus(), Filter: bus.Filter{Source: "notes"}, Handle: func(ctx context.Context, _ sqldb.Tx, _ bus.Message) error {
			h.Logger().InfoContext(ctx, "read")
			handled <- event.MetaFrom(ctx)
			return nil
		}}
		h.Run("view", view.Run)
		return nil
	}}
	reads := sdkmetric.NewManualReader()
	meter := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reads)).Meter("test")
	t.Cleanup(func() { // when the processes have stopped
		if n := handledMessages(t, reads); n != 1 {
			t.Errorf("cleave.consumer.messages is %d, want 1", n)
		}
	})
	page := service.Named{Name: "page", New: func(_ context.Context, h *service.Host) error {
		notes := echoapi.NewEchoServiceClient(h.Client("notes"))
		h.Handle("POST /notes", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := notes.Store(r.Context(), &echoapi.EchoRequest{}); err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
			}
		}))
		return nil
	}}
	at := runApart(t, &service.Options{Environ: []string{"CLEAVE_DATA=" + t.TempDir()}, Tracer: tracer, Meter: meter, Logger: logger}, notes, reader)
	front := runApart(t, &service.Options{Environ: []string{"CLEAVE_ADDR_NOTES=" + at["notes"]}, Tracer: tracer, Logger: slog.New(slog.DiscardHandler)}, page)

	const id = "0af7651916cd43dd8448eb211c80319c"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+front["page"]+"/notes", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("traceparent", "00-"+id+"-b7ad6b7169203331-01")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("status %d", res.StatusCode)
	}
	meta := <-handled
	var names []string
	for range 5 {
		s := <-ended
		if s.SpanContext().TraceID().String() != id {
			t.Errorf("span %s is in trace %s", s.Name(), s.SpanContext().TraceID())
		}
		if s.SpanKind() == trace.SpanKindConsumer && !strings.Contains(meta.TraceParent, s.SpanContext().SpanID().String()) {
			t.Errorf("what the consumer records names the span %s, want %s", meta.TraceParent, s.SpanContext().SpanID())
		}
		names = append(names, s.SpanKind().String()+" "+s.Name())
	}
	slices.Sort(names)
	const method = "cleave.rpi.echo.v1.EchoService/Store"
	if got, want := strings.Join(names, ", "), "client "+method+", client "+method+" attempt, consumer process note.stored, server POST /notes, server "+method; got != want {
		t.Errorf("spans: %s, want %s", got, want)
	}
	if lines := strings.Count(logs.String(), `"trace_id":"`+id); lines != 2 {
		t.Errorf("%d lines of the log carry the trace, want those of server and consumer: %s", lines, &logs)
	}
	store := <-stores
	for r, err := range store.Feed(t.Context(), eventsource.FeedOptions{}) {
		if err != nil || !strings.Contains(r.Meta.TraceParent, id) || r.Meta.Correlation != id {
			t.Errorf("the event carries %+v, %v", r.Meta, err)
		}
	}
}

func handledMessages(t *testing.T, reader sdkmetric.Reader) int64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Error(err)
	}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "cleave.consumer.messages" {
				return sum.DataPoints[0].Value
			}
		}
	}
	return 0
}

// runApart runs services as a process of their own until the test ends.
func runApart(t *testing.T, o *service.Options, services ...service.Named) map[string]string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	started, ended := make(chan service.Addresses, 1), make(chan error, 1)
	o.Started = func(a service.Addresses) { started <- a }
	o.Linger = 50 * time.Millisecond
	go func() { ended <- service.Run(ctx, services, o) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case a := <-started:
		return a.Services
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
		return nil
	}
}
