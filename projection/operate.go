package projection

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/internal/opsapi"
)

// Operations is what people ask of the runner with "cleave projection"; a
// service mounts it with Host.Operate("projection", runner.Operations()).
func (r *Runner) Operations() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", r.showStatus)
	mux.HandleFunc("GET /parked", r.showParked)
	mux.HandleFunc("POST /rebuild", r.doRebuild)
	mux.HandleFunc("POST /retry", r.doRetry)
	return mux
}

// asked returns the projections that a request names, or all.
func (r *Runner) asked(req *http.Request) []string {
	if name := req.FormValue("name"); name != "" {
		return []string{name}
	}
	var names []string
	for _, p := range r.ps {
		names = append(names, p.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (r *Runner) showStatus(w http.ResponseWriter, req *http.Request) {
	all := []opsapi.Progress{}
	for _, name := range r.asked(req) {
		live, err := r.Live(req.Context(), name)
		if err != nil {
			opsapi.Answer(w, nil, err, http.StatusNotFound)
			return
		}
		list, err := r.Progress(req.Context(), name)
		if err != nil {
			opsapi.Answer(w, nil, err, http.StatusInternalServerError)
			return
		}
		for _, g := range list {
			all = append(all, progressLine(g, g.Version == live))
		}
	}
	opsapi.Answer(w, all, nil, 0)
}

func progressLine(g Progress, live bool) opsapi.Progress {
	p := opsapi.Progress{Projection: g.Projection, Version: g.Version, Live: live, Source: g.Source, Done: uint64(g.Done), Head: uint64(g.Head),
		Rate: g.Rate, ETA: g.ETA.Seconds(), Parked: g.Parked}
	for _, l := range g.Lanes {
		p.Lanes = append(p.Lanes, uint64(l.Position))
	}
	return p
}

func (r *Runner) showParked(w http.ResponseWriter, req *http.Request) {
	all := []opsapi.Parked{}
	for _, name := range r.asked(req) {
		list, err := r.Parked(req.Context(), name)
		if err != nil {
			opsapi.Answer(w, nil, err, http.StatusNotFound)
			return
		}
		for _, p := range list {
			all = append(all, opsapi.Parked{Projection: p.Projection, Version: p.Version, Source: p.Source, Stream: p.Stream.String(),
				Position: uint64(p.Place.Position), Kept: p.Kept, Tries: p.Tries, Error: p.Error, Since: p.Since, Due: p.Due})
		}
	}
	opsapi.Answer(w, all, nil, 0)
}

func (r *Runner) doRebuild(w http.ResponseWriter, req *http.Request) {
	name := req.FormValue("name")
	if _, err := r.named(name); err != nil {
		opsapi.Answer(w, nil, err, http.StatusNotFound)
		return
	}
	lines := opsapi.NewLines(w)
	for g, err := range r.Rebuild(req.Context(), name) {
		line := progressLine(g, false)
		if err != nil {
			line.Error = err.Error()
		}
		if lines.Write(line) != nil {
			return // who asked has gone; it is built all the same
		}
		lines.Flush()
	}
}

func (r *Runner) doRetry(w http.ResponseWriter, req *http.Request) {
	category, id, ok := strings.Cut(req.FormValue("stream"), "/")
	if !ok {
		opsapi.Answer(w, nil, errors.New("a stream is written <category>/<id>"), http.StatusBadRequest)
		return
	}
	err := r.Retry(req.Context(), req.FormValue("name"), event.Stream{Category: category, ID: id})
	status := http.StatusConflict
	if errors.Is(err, bus.ErrNotParked) {
		status = http.StatusNotFound
	}
	opsapi.Answer(w, struct{}{}, err, status)
}
