package service

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strconv"
	"strings"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/internal/eventtable"
	"github.com/cleave-go/cleave/internal/opsapi"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/sqldb"
)

// Operate serves what people ask of a running service, under
// /ops/<service>/<what>/ of the admin listener, to those who have CLEAVE_TOKEN:
// "projection" and "saga" are the Operations of a runner and an orchestrator.
// "events" is there already.
func (h *Host) Operate(what string, hd http.Handler) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.operations = append(h.operations, handler{what, hd})
}

// operate is the handler of /ops/.
func (p *process) operate() http.Handler {
	mux := http.NewServeMux()
	for _, h := range p.hosts {
		all := h.operations
		if h.db != nil {
			all = append(all, handler{"events", (&events{h}).handler()})
		}
		for _, o := range all {
			path := "/ops/" + h.name + "/" + o.pattern
			mux.Handle(path+"/", http.StripPrefix(path, o.handler))
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		switch token := p.settings.token; {
		case token == "":
			http.Error(w, "operations need a token, and CLEAVE_TOKEN is not set", http.StatusForbidden)
		case subtle.ConstantTimeCompare([]byte(given), []byte(token)) != 1:
			http.Error(w, "operations need the token of CLEAVE_TOKEN", http.StatusUnauthorized)
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// events is what people ask of a service's event table.
type events struct{ host *Host }

func (e *events) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", e.read)
	mux.HandleFunc("GET /head", e.head)
	mux.HandleFunc("POST /epoch", e.newEpoch)
	return mux
}

// read answers the records of a stream, or of the table behind a position, as
// lines; live, it waits for more.
func (e *events) read(w http.ResponseWriter, r *http.Request) {
	number := func(name string) uint64 {
		n, err := strconv.ParseUint(r.FormValue(name), 10, 63)
		if err != nil && r.FormValue(name) != "" {
			opsapi.Answer(w, nil, fmt.Errorf("%s is a number, not %q", name, r.FormValue(name)), http.StatusBadRequest)
			return 0
		}
		return n
	}
	after, limit := event.Position(number("after")), int(number("limit"))
	epochs, err := outbox.Source(e.host.name, e.host.db).Epochs(r.Context())
	if err != nil {
		opsapi.Answer(w, nil, err, http.StatusInternalServerError)
		return
	}
	live := r.FormValue("live") != ""
	records := eventtable.LiveFeed(r.Context(), e.host.db, eventsource.FeedOptions{After: after, Limit: limit, Live: live})
	if s := r.FormValue("stream"); s != "" {
		category, id, _ := strings.Cut(s, "/")
		records = e.stream(r.Context(), event.Stream{Category: category, ID: id}, limit)
	}
	lines := opsapi.NewLines(w)
	for rec, err := range records {
		if err != nil {
			return // the reader has gone, or misses the end
		}
		if lines.Write(eventLine(rec, bus.EpochAt(epochs, rec.Position))) != nil {
			return
		}
		if live {
			lines.Flush()
		}
	}
	lines.Flush()
}

func (e *events) stream(ctx context.Context, s event.Stream, limit int) iter.Seq2[event.Record, error] {
	return eventtable.Read(ctx, e.host.db, s, eventsource.ReadOptions{Limit: limit})
}

func eventLine(r event.Record, epoch string) opsapi.Event {
	meta, err := json.Marshal(r.Meta)
	if err != nil {
		meta = nil
	}
	data := json.RawMessage(r.Data)
	if !json.Valid(data) {
		data, _ = json.Marshal([]byte(r.Data)) // a string in base64 never fails
	}
	return opsapi.Event{Position: uint64(r.Position), Epoch: epoch, ID: r.ID.String(), Stream: r.Stream.String(), Version: r.Version,
		Type: r.Type, Schema: r.Schema, Time: r.Time, Meta: meta, Data: data}
}

func (e *events) head(w http.ResponseWriter, r *http.Request) {
	head, err1 := eventtable.Head(r.Context(), e.host.db)
	epoch, err2 := eventtable.Epoch(r.Context(), e.host.db)
	opsapi.Answer(w, opsapi.Head{Head: uint64(head), Epoch: epoch}, errors.Join(err1, err2), http.StatusInternalServerError)
}

// newEpoch begins a new epoch of a table that was restored from an older copy,
// behind the last position at which table and bus agree.
func (e *events) newEpoch(w http.ResponseWriter, r *http.Request) {
	after, err := e.agreed(r.Context())
	if given := r.FormValue("after"); given != "" { // who asks knows better
		var n uint64
		n, err = strconv.ParseUint(given, 10, 63)
		after = event.Position(n)
	}
	if err != nil {
		opsapi.Answer(w, nil, err, http.StatusConflict)
		return
	}
	var span eventtable.Span
	err = e.host.db.Update(r.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		span, err = eventtable.NewEpoch(ctx, tx, after)
		return err
	})
	if err == nil {
		e.host.logger.Warn("the event table goes on in a new epoch", "epoch", span.Name, "behind", span.After)
	}
	opsapi.Answer(w, opsapi.Epoch{Epoch: span.Name, After: uint64(span.After)}, err, http.StatusInternalServerError)
}

// errInStep says that there is no reason for a new epoch.
var errInStep = errors.New("the bus is not ahead of the event table: there is nothing to decide")

// agreed returns the last position at which the table has the event that the
// bus has. They agree up to some position and nowhere behind it.
func (e *events) agreed(ctx context.Context) (event.Position, error) {
	s, ok := e.host.process.bus.(bus.Searcher)
	if !ok {
		return 0, errors.New("the bus cannot say what it holds")
	}
	source := outbox.Source(e.host.name, e.host.db)
	head, err := source.Head(ctx)
	if err != nil {
		return 0, err
	}
	epochs, err := source.Epochs(ctx)
	if err != nil {
		return 0, err
	}
	last, err := s.Last(ctx, e.host.name)
	if err != nil {
		return 0, err
	}
	at, _ := bus.Enter(epochs, last)
	if last.Position == 0 || at.Epoch != last.Epoch {
		return 0, errInStep
	}
	low, high := epochs[len(epochs)-1].After, min(head, last.Position)
	if same, err := e.same(ctx, source, last); err != nil || same && head >= last.Position {
		return 0, errors.Join(err, errInStep)
	}
	for low < high {
		mid := low + (high-low+1)/2
		same, err := e.same(ctx, source, bus.Place{Epoch: last.Epoch, Position: mid})
		if err != nil {
			return 0, err
		}
		if same {
			low = mid
		} else {
			high = mid - 1
		}
	}
	return low, nil
}

// same reports whether table and bus have the same event at a place. What the
// bus does not hold any more was published from the table.
func (e *events) same(ctx context.Context, source bus.Source, at bus.Place) (bool, error) {
	var ours, theirs event.Record
	for r, err := range source.Feed(ctx, at.Position-1, false) {
		if err != nil {
			return false, err
		}
		ours = r
		break
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for m, err := range e.host.process.bus.Subscribe(ctx, bus.Filter{Source: e.host.name}, bus.Place{Epoch: at.Epoch, Position: at.Position - 1}) {
		if err != nil {
			return false, err
		}
		theirs = m.Record
		break
	}
	return ours.Position != at.Position || theirs.Position != at.Position || ours.ID == theirs.ID, ctx.Err()
}
