package service

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// plain puts a handler that is no procedure behind a span and a recover.
func (p *process) plain(h *Host, pattern string, next http.Handler) http.Handler {
	name := pattern
	if !strings.Contains(pattern, " ") {
		name = "HTTP " + pattern
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := p.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
			attribute.String("http.request.method", r.Method), attribute.String("http.route", pattern), attribute.String("cleave.service", h.name)))
		defer span.End()
		seen := &statusWriter{ResponseWriter: w}
		defer func() {
			reason := recover()
			if reason == nil {
				if seen.status >= 500 {
					span.SetStatus(codes.Error, http.StatusText(seen.status))
				}
				span.SetAttributes(attribute.Int("http.response.status_code", max(seen.status, http.StatusOK)))
				return
			}
			span.SetStatus(codes.Error, "panic")
			if reason == http.ErrAbortHandler { // a sentinel to panic with
				panic(reason)
			}
			h.logger.ErrorContext(ctx, "handler panicked", "pattern", pattern, "panic", fmt.Sprint(reason), "stack", string(debug.Stack()))
			if seen.status == 0 {
				http.Error(w, "internal error", http.StatusInternalServerError)
				return
			}
			panic(http.ErrAbortHandler) // an answer cut short must not look whole
		}()
		next.ServeHTTP(seen, r.WithContext(ctx))
	})
}

// statusWriter remembers the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// Unwrap lets http.ResponseController reach what is beneath.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush sends what was written so far.
func (w *statusWriter) Flush() { http.NewResponseController(w.ResponseWriter).Flush() } // as http.Flusher has it

// WriteHeader remembers and passes on.
func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write is an OK unless WriteHeader said otherwise.
func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}
