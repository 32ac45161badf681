package kit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/cleave-go/cleave/rpi"
)

const scope = "github.com/cleave-go/cleave"

// telemetry is the SDK behind the API that the patterns use.
type telemetry struct {
	traces  *sdktrace.TracerProvider
	share   float64 // of the traces that begin here that are recorded
	meters  *sdkmetric.MeterProvider
	metrics http.Handler
}

// tracer decides what is recorded before anything is made of a span, as the
// provider's own samplers cannot.
func (t *telemetry) tracer() trace.Tracer { return rpi.Sampled(t.traces.Tracer(scope), t.share) }
func (t *telemetry) meter() metric.Meter  { return t.meters.Meter(scope) }

func (t *telemetry) shutdown(ctx context.Context) error {
	return errors.Join(t.traces.Shutdown(ctx), t.meters.Shutdown(ctx))
}

func newTelemetry(ctx context.Context, environ []string, services []Service) (*telemetry, error) {
	name := lookup(environ, "OTEL_SERVICE_NAME")
	if name == "" {
		if name = lookup(environ, "CLEAVE_SERVICES"); name == "" && len(services) == 1 {
			name = services[0].Name
		}
	}
	res := resource.NewSchemaless(attribute.String("service.name", name),
		attribute.String("service.instance.id", lookup(environ, "CLEAVE_INSTANCE")),
		attribute.String("service.version", lookup(environ, "CLEAVE_VERSION")))

	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(res), sdktrace.WithSampler(sdktrace.AlwaysSample())}
	share := 0.0 // ids for the logs, nothing recorded
	collector, err := newOTLP(environ)
	if err != nil {
		return nil, err
	}
	if collector != nil {
		exporter, err := otlptrace.New(ctx, collector)
		if err != nil {
			return nil, err
		}
		options = append(options, sdktrace.WithBatcher(exporter))
		if share, err = sampled(environ); err != nil {
			return nil, err
		}
	}

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	return &telemetry{
		traces:  sdktrace.NewTracerProvider(options...),
		share:   share,
		meters:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(res)),
		metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}),
	}, nil
}

// sampled is the share of traces that OTEL_TRACES_SAMPLER asks for. A trace that
// began elsewhere is recorded if it is there.
func sampled(environ []string) (float64, error) {
	switch sampler := lookup(environ, "OTEL_TRACES_SAMPLER"); sampler {
	case "", "always_on", "parentbased_always_on":
		return 1, nil
	case "always_off", "parentbased_always_off":
		return 0, nil
	case "traceidratio", "parentbased_traceidratio":
		arg := lookup(environ, "OTEL_TRACES_SAMPLER_ARG")
		if arg == "" {
			return 1, nil
		}
		share, err := strconv.ParseFloat(arg, 64)
		if err != nil || !(share >= 0 && share <= 1) {
			return 0, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG is %q; it must be a share from 0 to 1", arg)
		}
		return share, nil
	default:
		return 0, fmt.Errorf("OTEL_TRACES_SAMPLER is %q; use parentbased_always_on, parentbased_always_off or parentbased_traceidratio", sampler)
	}
}
