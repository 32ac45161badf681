package kit

import (
	"context"
	"errors"
	"fmt"
	"net/http"

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
)

const scope = "github.com/cleave-go/cleave"

// telemetry is the SDK behind the API that the patterns use.
type telemetry struct {
	traces  *sdktrace.TracerProvider
	meters  *sdkmetric.MeterProvider
	metrics http.Handler
}

func (t *telemetry) tracer() trace.Tracer { return t.traces.Tracer(scope) }
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

	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(res)}
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
	} else { // ids for the logs, nothing recorded
		options = append(options, sdktrace.WithSampler(sdktrace.NeverSample()))
	}

	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	reader, err := otelprometheus.New(otelprometheus.WithRegisterer(registry), otelprometheus.WithoutScopeInfo())
	if err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	return &telemetry{
		traces:  sdktrace.NewTracerProvider(options...),
		meters:  sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader), sdkmetric.WithResource(res)),
		metrics: promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}),
	}, nil
}
