package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/graphql"
	"github.com/cleave-go/cleave/limit"
	"github.com/cleave-go/cleave/rpi"
)

// Options adjusts New.
type Options struct {
	// Verifier decides about tokens. Default: none is believed, every caller is anonymous.
	Verifier *auth.Verifier
	// Rate is each caller's. Default: 100 requests a second, bursts of 200.
	Rate limit.Rate
	// MaxBody is the largest request body in bytes. Default: 1 MiB.
	MaxBody int64
	// Timeout is how long a request may take. Default: 30 s.
	Timeout time.Duration
	// Views are resources, by pattern ("GET /orders/{id}"), each the query that
	// answers it (see graphql.Schema.REST). Default: none.
	Views map[string]string
	// Hosts are names a loopback listener answers to besides its own. Default: none.
	Hosts []string
	// Origins may call from a browser's page ("https://app.example"). Default:
	// none but the gateway's own.
	Origins []string
	// Telemetry of requests. Default: none.
	Telemetry Telemetry
}

// Telemetry is where a gateway tells what happens.
type Telemetry struct {
	Logger *slog.Logger // Default: slog.Default()
	Meter  metric.Meter // Default: none
	Tracer trace.Tracer // Default: none
}

// gateway is the handler that New returns.
type gateway struct {
	options  Options
	limiter  *limit.Keyed[string]
	cross    *http.CrossOriginProtection
	origins  map[string]bool
	mux      *http.ServeMux
	measures *measures
	log      *slog.Logger
}

// New returns a handler that serves s at /graphql and the views at theirs. It
// fails with a sentence when an option makes no sense or a view does not fit the schema.
func New(s *graphql.Schema, o *Options) (http.Handler, error) {
	g := &gateway{mux: http.NewServeMux(), cross: http.NewCrossOriginProtection(), origins: map[string]bool{}}
	if o != nil {
		g.options = *o
	}
	if g.options.Rate == (limit.Rate{}) {
		g.options.Rate = limit.Rate{Events: 100, Per: time.Second, Burst: 200}
	}
	if g.log = g.options.Telemetry.Logger; g.log == nil {
		g.log = slog.Default()
	}
	var err error
	if g.limiter, err = limit.NewKeyed[string](g.options.Rate, nil); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	if g.measures, err = newMeasures(g.options.Telemetry.Meter); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	for _, origin := range g.options.Origins {
		if err := g.cross.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
		g.origins[origin] = true
	}
	return g, g.mount(s)
}

func (g *gateway) mount(s *graphql.Schema) error {
	serve := &graphql.HandlerOptions{MaxBody: g.options.MaxBody, Timeout: g.options.Timeout, Done: g.done}
	g.mux.Handle(graphPath, s.Handler(serve))
	for pattern, document := range g.options.Views {
		view, err := s.REST(pattern, document, serve)
		if err != nil {
			return fmt.Errorf("gateway: view %w", err)
		}
		if err := handle(g.mux, pattern, view); err != nil {
			return err
		}
		if path, ok := strings.CutPrefix(pattern, "GET "); ok {
			if err := handle(g.mux, path, http.HandlerFunc(g.onlyRead)); err != nil {
				return err
			}
		}
	}
	g.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		g.refuse(w, r, callOf(r.Context()), http.StatusNotFound, graphql.Errorf(graphql.NotFound, "the graph is at %s", graphPath))
	})
	return nil
}

// onlyRead answers who does something else to a view than read it.
func (g *gateway) onlyRead(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Allow", "GET, HEAD")
	g.refuse(w, r, callOf(r.Context()), http.StatusMethodNotAllowed, graphql.Errorf(graphql.BadUserInput, "%s is not served here, only GET", r.Method))
}

// graphPath is where the graph is served.
const graphPath = "/graphql"

// handle turns the mux's panic about a malformed or conflicting pattern into an error.
func handle(mux *http.ServeMux, pattern string, h http.Handler) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("gateway: view %s: %v", pattern, v)
		}
	}()
	mux.Handle(pattern, h)
	return nil
}

// done adds what the request has caused to its response, and notes what it took.
func (g *gateway) done(ctx context.Context, h http.Header, r *graphql.Response) {
	c := callOf(ctx)
	if c == nil {
		return
	}
	if c.consistency != nil && !c.consistency.Caused().IsZero() {
		token := c.consistency.Token().String()
		h.Set(rpi.ConsistencyHeader, token)
		if r.Extensions == nil {
			r.Extensions = map[string]any{}
		}
		r.Extensions["consistency"] = token
	}
	c.stats = r.Stats
	if len(r.Errors) > 0 {
		c.code = r.Errors[0].Code
	}
}
