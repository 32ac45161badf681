package kit_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/cleave-go/cleave/kit"
)

func TestSpansReachTheCollector(t *testing.T) {
	t.Parallel()
	type request struct {
		path, kind, key string
		spans           *tracepb.TracesData
	}
	got := make(chan request, 1)
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		spans := new(tracepb.TracesData)
		if err := proto.Unmarshal(body, spans); err != nil {
			t.Error(err)
		}
		got <- request{r.URL.Path, r.Header.Get("Content-Type"), r.Header.Get("Api-Key"), spans}
	}))
	defer collector.Close()

	tracer, shutdown, err := kit.Tracing(t.Context(), []string{
		"OTEL_SERVICE_NAME=order",
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.URL,
		"OTEL_EXPORTER_OTLP_HEADERS=api-key=a%20b",
	})
	if err != nil {
		t.Fatal(err)
	}
	_, span := tracer.Start(t.Context(), "place order")
	span.End()
	if err := shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	r := <-got
	if r.path != "/v1/traces" || r.kind != "application/x-protobuf" || r.key != "a b" {
		t.Errorf("got %s of %s with api-key %q", r.path, r.kind, r.key)
	}
	resource := r.spans.GetResourceSpans()[0]
	if name := resource.GetScopeSpans()[0].GetSpans()[0].GetName(); name != "place order" {
		t.Errorf("the span's name is %q", name)
	}
	if a := resource.GetResource().GetAttributes(); !strings.Contains(a[0].String()+a[1].String()+a[2].String(), `"order"`) {
		t.Errorf("the resource does not name the service: %v", a)
	}
}

func TestCollectorAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		answers []int // the last one goes on
		after   string
		sent    int
		took    time.Duration
		err     string
	}{
		{"accepted", []int{200}, "", 1, 0, "<nil>"},
		{"unavailable for a while", []int{503, 502, 200}, "", 3, 3 * time.Second, "<nil>"},
		{"busy, with a time to come back", []int{429, 200}, "4", 2, 4 * time.Second, "<nil>"},
		{"refused", []int{400}, "", 1, 0, "400 Bad Request"},
		{"away for longer than the limit", []int{504}, "", 4, 10 * time.Second, "504 Gateway Timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				sent := 0
				begin := time.Now()
				err := kit.Export(t.Context(), []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318"}, func(*http.Request) (*http.Response, error) {
					status := tt.answers[min(sent, len(tt.answers)-1)]
					sent++
					return &http.Response{StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Header: http.Header{"Retry-After": {tt.after}}, Body: http.NoBody}, nil
				})
				if got := time.Since(begin); sent != tt.sent || got != tt.took {
					t.Errorf("%d requests in %s, want %d in %s", sent, got, tt.sent, tt.took)
				}
				if got := fmt.Sprint(err); !strings.HasSuffix(got, tt.err) {
					t.Errorf("got %s, want %q", got, tt.err)
				}
			})
		})
	}
}

func TestCollectorSettingsAreChecked(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ setting, want string }{
		{"OTEL_EXPORTER_OTLP_ENDPOINT=localhost:4318", "must be the URL of a collector"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=ftp://x", "must be the URL of a collector"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL=grpc", "http/protobuf only"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT=soon", "number of milliseconds"},
		{"OTEL_EXPORTER_OTLP_HEADERS=secret", "key=value"},
		{"OTEL_TRACES_SAMPLER=some", "parentbased_traceidratio"},
		{"OTEL_TRACES_SAMPLER=always_on", "<nil>"},
	} {
		environ := []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318", tt.setting}
		if strings.Contains(tt.setting, "_ENDPOINT=") {
			environ = environ[1:]
		}
		_, _, err := kit.Tracing(t.Context(), environ)
		if !strings.Contains(fmt.Sprint(err), tt.want) {
			t.Errorf("%s: got %v, want an error with %q", tt.setting, err, tt.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows a header's value: %v", err)
		}
	}
}

func TestTheShareOfTracesThatIsAskedForIsRecorded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		settings []string
		recorded bool
	}{
		{nil, true},
		{[]string{"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=1"}, true},
		{[]string{"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0"}, false},
		{[]string{"OTEL_TRACES_SAMPLER=always_off"}, false},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT="}, false},
	} {
		tracer, shutdown, err := kit.Tracing(t.Context(), append([]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"}, tt.settings...))
		if err != nil {
			t.Fatal(err)
		}
		_, span := tracer.Start(t.Context(), "any")
		if got := span.SpanContext(); !got.IsValid() || got.IsSampled() != tt.recorded {
			t.Errorf("%v: sampled %t, with ids %t", tt.settings, got.IsSampled(), got.IsValid())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel() // nobody is there to take the spans
		shutdown(ctx)
	}
}
