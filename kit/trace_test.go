package kit_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/service"
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

func TestOneTraceGoesThroughPageCallLogAndEvent(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewInMemoryExporter()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test")
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
		return nil
	}}
	page := service.Named{Name: "page", New: func(_ context.Context, h *service.Host) error {
		notes := echoapi.NewEchoServiceClient(h.Client("notes"))
		h.Handle("POST /notes", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := notes.Store(r.Context(), &echoapi.EchoRequest{}); err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
			}
		}))
		return nil
	}}
	at := runApart(t, &service.Options{Environ: []string{"CLEAVE_DATA=" + t.TempDir()}, Tracer: tracer, Logger: logger}, notes)
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
	var names []string
	for _, s := range spans.GetSpans() {
		if s.SpanContext.TraceID().String() != id {
			t.Errorf("span %s is in trace %s", s.Name, s.SpanContext.TraceID())
		}
		names = append(names, s.SpanKind.String()+" "+s.Name)
	}
	const method = "cleave.rpi.echo.v1.EchoService/Store"
	if got, want := strings.Join(names, ", "), "server "+method+", client "+method+", server POST /notes"; got != want {
		t.Errorf("spans: %s, want %s", got, want)
	}
	if !strings.Contains(logs.String(), `"msg":"stored"`) || !strings.Contains(logs.String(), `"trace_id":"`+id) {
		t.Errorf("the log does not carry the trace: %s", &logs)
	}
	store := <-stores
	for r, err := range store.Feed(t.Context(), eventsource.FeedOptions{}) {
		if err != nil || !strings.Contains(r.Meta.TraceParent, id) || r.Meta.Correlation != id {
			t.Errorf("the event carries %+v, %v", r.Meta, err)
		}
	}
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
