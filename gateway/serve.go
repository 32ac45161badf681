package gateway

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/graphql"
	"github.com/cleave-go/cleave/rpi"
)

// call is what is known of one request.
type call struct {
	id          string
	start       time.Time
	consistency *rpi.Consistency
	stats       graphql.Stats
	code        graphql.Code // of the first error
}

type callKey struct{}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// ServeHTTP takes the request through every guard, then to the graph or a view.
func (g *gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{id: requestID(r.Header.Get("X-Request-Id")), start: time.Now()}
	w.Header().Set("X-Request-Id", c.id)
	rec := &recorder{ResponseWriter: w}
	ctx, end := g.trace(r)
	r = r.WithContext(context.WithValue(ctx, callKey{}, c))
	defer func() {
		g.recover(recover(), rec, r, c)
		end(rec.status, c)
		g.measures.record(r.Context(), c, rec.status)
		g.log.LogAttrs(r.Context(), levelOf(rec.status), "gateway: request", slog.String("id", c.id), slog.String("method", r.Method), slog.String("path", r.URL.Path),
			slog.Int("status", rec.status), slog.String("operation", c.stats.Operation), slog.String("code", string(c.code)), slog.Int("calls", c.stats.Calls), slog.Duration("took", time.Since(c.start)))
	}()
	if r, ok := g.admit(rec, r, c); ok {
		g.mux.ServeHTTP(rec, r)
	}
}

func levelOf(status int) slog.Level {
	if status >= 500 {
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

// admit applies the guards in order of what they cost; ok is false when one has answered.
func (g *gateway) admit(w http.ResponseWriter, r *http.Request, c *call) (_ *http.Request, ok bool) {
	if e := g.checkHost(r); e != nil {
		return g.refuse(w, r, c, http.StatusMisdirectedRequest, e)
	}
	if g.cors(w, r) {
		return nil, false
	}
	if g.cross.Check(r) != nil {
		return g.refuse(w, r, c, http.StatusForbidden, graphql.Errorf(graphql.Forbidden, "a page of another origin may not call"))
	}
	ctx, caller, e := g.identify(r)
	if e != nil && e.Code == graphql.Unauthenticated {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	}
	if !g.allowed(w, caller) {
		return g.refuse(w, r, c, http.StatusTooManyRequests, &graphql.Error{Code: graphql.RateLimited, Message: "too many requests: see Retry-After", Retryable: true})
	}
	if e != nil {
		return g.refuse(w, r, c, e.Code.Status(), e)
	}
	required, err := consistency(r)
	if err != nil {
		return g.refuse(w, r, c, http.StatusBadRequest, err)
	}
	ctx, c.consistency = rpi.WithConsistency(ctx, required)
	return r.WithContext(ctx), true
}

// refuse answers a request that no handler sees.
func (g *gateway) refuse(w http.ResponseWriter, r *http.Request, c *call, status int, e *graphql.Error) (*http.Request, bool) {
	c.code = e.Code
	if r.URL.Path == graphPath {
		graphql.WriteError(w, status, e)
	} else {
		graphql.WriteProblem(w, status, e)
	}
	return nil, false
}

// identify verifies the caller's token. caller is the key of its rate, also when the token is bad.
func (g *gateway) identify(r *http.Request) (ctx context.Context, caller string, e *graphql.Error) {
	ctx, caller = r.Context(), "ip "+address(r.RemoteAddr)
	header := r.Header.Values("Authorization")
	if g.options.Verifier == nil || len(header) == 0 {
		return ctx, caller, nil
	}
	if len(header) > 1 {
		return ctx, caller, graphql.Errorf(graphql.Unauthenticated, "there is more than one Authorization header")
	}
	raw, err := auth.Bearer(header[0])
	if err == nil && raw == "" {
		return ctx, caller, nil
	}
	var p auth.Principal
	if err == nil {
		p, err = g.options.Verifier.Verify(ctx, raw)
	}
	switch {
	case err == nil:
		return auth.With(ctx, p, raw), "sub " + p.Subject, nil
	case auth.IsUnauthenticated(err):
		return ctx, caller, &graphql.Error{Code: graphql.Unauthenticated, Message: publicReason(err), Cause: err}
	}
	return ctx, caller, &graphql.Error{Code: graphql.Unavailable, Message: "tokens cannot be verified at the moment", Retryable: true, Cause: err}
}

func publicReason(err error) string {
	if errors.Is(err, auth.ErrExpired) {
		return "the token has expired"
	}
	return "the token is not valid"
}

// allowed charges the caller for a request and tells it what is left.
func (g *gateway) allowed(w http.ResponseWriter, caller string) bool {
	ok, retryAfter, remaining := g.limiter.Allow(caller)
	h := w.Header()
	h.Set("RateLimit-Limit", strconv.Itoa(max(g.options.Rate.Burst, 1)))
	h.Set("RateLimit-Remaining", strconv.Itoa(remaining))
	if !ok {
		h.Set("Retry-After", strconv.Itoa(max(int(math.Ceil(retryAfter.Seconds())), 1)))
	}
	return ok
}

func consistency(r *http.Request) (event.Token, *graphql.Error) {
	text := r.Header.Get(rpi.ConsistencyHeader)
	if text == "" {
		return event.Token{}, nil
	}
	t, err := event.ParseToken(text)
	if err != nil {
		return t, &graphql.Error{Code: graphql.BadUserInput, Field: rpi.ConsistencyHeader, Message: "is not a consistency token", Cause: err}
	}
	return t, nil
}

// recover answers for a handler that panicked; the server's own abort goes on.
func (g *gateway) recover(v any, w *recorder, r *http.Request, c *call) {
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler {
		panic(v)
	}
	g.log.ErrorContext(r.Context(), "gateway: panic", "id", c.id, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	if w.status == 0 {
		g.refuse(w, r, c, http.StatusInternalServerError, graphql.Errorf(graphql.Internal, "internal error"))
	}
}

// trace joins the client's trace and spans the request.
func (g *gateway) trace(r *http.Request) (context.Context, func(int, *call)) {
	ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
	if g.options.Telemetry.Tracer == nil {
		return ctx, func(int, *call) {}
	}
	ctx, span := g.options.Telemetry.Tracer.Start(ctx, r.Method+" "+pathLabel(r), trace.WithSpanKind(trace.SpanKindServer))
	return ctx, func(status int, c *call) {
		span.SetAttributes(spanAttributes(status, c)...)
		span.End()
	}
}

// pathLabel keeps span names few.
func pathLabel(r *http.Request) string {
	if r.URL.Path == graphPath {
		return graphPath
	}
	return "view"
}

// requestID keeps the client's id if it is a plain short word.
func requestID(given string) string {
	ok := given != "" && len(given) <= 64 && strings.IndexFunc(given, func(c rune) bool {
		return !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.')
	}) < 0
	if ok {
		return given
	}
	return rand.Text()
}

// recorder remembers the status.
type recorder struct {
	http.ResponseWriter
	status int
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
