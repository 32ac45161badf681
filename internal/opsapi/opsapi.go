package opsapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// Event is a record of a service's table.
type Event struct {
	Position uint64          `json:"position"`
	Epoch    string          `json:"epoch"`
	ID       string          `json:"id"`
	Stream   string          `json:"stream"`
	Version  uint64          `json:"version"`
	Type     string          `json:"type"`
	Schema   int             `json:"schema"`
	Time     time.Time       `json:"time"`
	Meta     json.RawMessage `json:"meta"`
	Data     json.RawMessage `json:"data"` // a string in base64 where it is not JSON
}

// Head is where a service's table ends.
type Head struct {
	Head  uint64 `json:"head"`
	Epoch string `json:"epoch"`
}

// Epoch is a new epoch of a table.
type Epoch struct {
	Epoch string `json:"epoch"`
	After uint64 `json:"after"` // the last position of the one before
}

// Progress is how far a version of a projection is in a source; "" is all.
type Progress struct {
	Projection string   `json:"projection"`
	Version    int      `json:"version"`
	Live       bool     `json:"live"`
	Source     string   `json:"source,omitempty"`
	Done       uint64   `json:"done"`
	Head       uint64   `json:"head"`
	Rate       float64  `json:"rate"`       // a second
	ETA        float64  `json:"etaSeconds"` // 0: none, or not known
	Lanes      []uint64 `json:"lanes,omitempty"`
	Parked     int      `json:"parked"`
	Error      string   `json:"error,omitempty"` // the last line of a stream that failed
}

// Parked is a stream that a projection has set aside.
type Parked struct {
	Projection string    `json:"projection"`
	Version    int       `json:"version"`
	Source     string    `json:"source"`
	Stream     string    `json:"stream"`
	Position   uint64    `json:"position"`
	Kept       int       `json:"kept"`
	Tries      int       `json:"tries"`
	Error      string    `json:"error"`
	Since      time.Time `json:"since"`
	Due        time.Time `json:"due,omitzero"`
}

// Saga is how a saga stands.
type Saga struct {
	ID       string          `json:"id"`
	Saga     string          `json:"saga"`
	Version  int             `json:"version"`
	Key      string          `json:"key"`
	State    string          `json:"state"`
	Step     string          `json:"step"`
	Attempts int             `json:"attempts"`
	Stuck    bool            `json:"stuck"`
	Error    string          `json:"error,omitempty"`
	Failure  string          `json:"failure,omitempty"`
	Due      time.Time       `json:"due,omitzero"`
	Started  time.Time       `json:"started"`
	Updated  time.Time       `json:"updated"`
	Data     json.RawMessage `json:"data,omitempty"`
}

// Answer writes v, or the error with a status.
func Answer(w http.ResponseWriter, v any, err error, status int) {
	if err != nil {
		http.Error(w, err.Error(), status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // the reader has gone
}

// Lines writes values as lines of JSON, each at once.
type Lines struct {
	w   http.ResponseWriter
	enc *json.Encoder
}

// NewLines begins an answer of lines.
func NewLines(w http.ResponseWriter) *Lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	return &Lines{w, json.NewEncoder(w)}
}

// Write writes one line.
func (l *Lines) Write(v any) error {
	if err := l.enc.Encode(v); err != nil {
		return fmt.Errorf("write a line: %w", err)
	}
	return nil
}

// Flush sends what was written.
func (l *Lines) Flush() { _ = http.NewResponseController(l.w).Flush() }
