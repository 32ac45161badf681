package service

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
)

// Description is what a binary says of itself.
type Description struct {
	Version  string               `json:"version"`
	Services []ServiceDescription `json:"services"`
}

// ServiceDescription says what a service offers and needs.
type ServiceDescription struct {
	Name       string   `json:"name"`
	Procedures []string `json:"procedures,omitempty"` // offered
	Patterns   []string `json:"patterns,omitempty"`   // of plain HTTP
	Calls      []string `json:"calls,omitempty"`      // services it is a client of
	Workers    []string `json:"workers,omitempty"`
	Edge       bool     `json:"edge,omitempty"` // has a listener of its own in every topology
	Database   bool     `json:"database,omitempty"`
}

// Describe composes services in a temporary folder, writes what they declared
// as JSON and starts none.
func Describe(ctx context.Context, services []Named, out io.Writer) error {
	dir, err := os.MkdirTemp("", "cleave-describe-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p, err := newProcess(services, &Options{Environ: []string{"CLEAVE_DATA=" + dir}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	chosen, err := choose(services, "")
	if err != nil {
		return err
	}
	if err := p.compose(ctx, chosen); err != nil {
		p.close() // the first error tells more
		return err
	}
	d := Description{Version: p.settings.version}
	for _, h := range p.hosts {
		d.Services = append(d.Services, h.describe())
	}
	if err := p.close(); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	return enc.Encode(d)
}

func (h *Host) describe() ServiceDescription {
	d := ServiceDescription{Name: h.name, Calls: slices.Sorted(maps.Keys(h.clients)), Edge: h.edge != "", Database: h.db != nil}
	for spec := range h.server.Specs() {
		if !strings.HasPrefix(spec.Procedure, feedPrefix) { // the chassis' own
			d.Procedures = append(d.Procedures, spec.Procedure)
		}
	}
	for _, hd := range h.handlers {
		d.Patterns = append(d.Patterns, hd.pattern)
	}
	for _, w := range h.workers {
		d.Workers = append(d.Workers, w.name)
	}
	return d
}
