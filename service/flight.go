package service

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/trace"
	"strings"
	"time"
)

// flightBytes bounds the memory of the flight recorder.
const flightBytes = 32 << 20

// startFlight keeps the execution trace of the last seconds in memory, so that
// it can be read after something went wrong. A process has one recorder: of
// several Runs in it, the first that asks has it.
func (p *process) startFlight(age time.Duration) error {
	p.flightMu.Lock()
	defer p.flightMu.Unlock()
	r := trace.NewFlightRecorder(trace.FlightRecorderConfig{MinAge: age, MaxBytes: flightBytes})
	if err := r.Start(); err != nil {
		return fmt.Errorf("flight recorder: %w", err)
	}
	p.flight = r
	return nil
}

func (p *process) stopFlight() bool {
	p.flightMu.Lock()
	defer p.flightMu.Unlock()
	if p.flight == nil {
		return false
	}
	p.flight.Stop()
	p.flight = nil
	return true
}

// showFlight writes what was recorded, for go tool trace.
func (p *process) showFlight(w http.ResponseWriter, _ *http.Request) {
	p.flightMu.Lock()
	defer p.flightMu.Unlock()
	if p.flight == nil {
		http.Error(w, "nothing is recorded: POST to this address starts, or set CLEAVE_FLIGHT", http.StatusConflict)
		return
	}
	var b bytes.Buffer
	if _, err := p.flight.WriteTo(&b); err != nil {
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="flight.trace"`)
	w.Write(b.Bytes()) // the reader has gone
}

// recordFlight starts recording; age says how far back, 10 s by default.
func (p *process) recordFlight(w http.ResponseWriter, r *http.Request) {
	age := 10 * time.Second
	if text := r.FormValue("age"); text != "" {
		d, err := flightAge(text)
		if err != nil {
			http.Error(w, "age: "+err.Error(), http.StatusBadRequest)
			return
		}
		age = d
	}
	if err := p.startFlight(age); err != nil { // it runs already
		http.Error(w, err.Error(), http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (p *process) endFlight(w http.ResponseWriter, _ *http.Request) {
	if !p.stopFlight() {
		http.Error(w, "nothing is recorded", http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func flightAge(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > 10*time.Minute {
		return 0, fmt.Errorf("%q is not a duration between 1s and 10m", text)
	}
	return d, nil
}

// showLevel says from which level on is logged.
func (p *process) showLevel(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprintln(w, strings.ToLower(p.options.LogLevel.Level().String()))
}

// setLevel takes debug, info, warn or error as the body.
func (p *process) setLevel(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64))
	var level slog.Level
	if err == nil {
		err = level.UnmarshalText(bytes.TrimSpace(text))
	}
	if err != nil {
		http.Error(w, "the body must be debug, info, warn or error", http.StatusBadRequest)
		return
	}
	before := p.options.LogLevel.Level()
	p.options.LogLevel.Set(level)
	p.logger.Log(r.Context(), max(level, slog.LevelWarn), "log level changed", "from", before, "to", level)
	p.showLevel(w, r)
}
