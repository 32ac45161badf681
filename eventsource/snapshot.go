package eventsource

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/cleave-go/cleave/event"
)

// Snapshot says when the repository keeps an aggregate's state, as JSON, beside
// its events, so that loading it reads only what came since. The zero value
// keeps none.
type Snapshot struct {
	// Every is after how many events a new snapshot is kept. 50 to 500 is
	// usual; below that reading the events is as fast.
	Every int
	// Schema rises, from 1, with each change of the state or of Evolve that
	// would read differently. A snapshot of another schema is not used: the
	// state is made of the events again, and kept anew.
	// eventsourcetest.SnapshotEquals fails when the number was forgotten.
	Schema int
}

// SavedState is a snapshot as a store keeps it: the state after the event at
// Version.
type SavedState struct {
	Version  uint64
	Position event.Position // of that event
	Time     time.Time      // of that event
	Schema   int
	State    json.RawMessage
}

// MaxState is how many bytes a SavedState may have.
const MaxState = 4 << 20

// Snapshots is a Store that keeps one SavedState for each stream. NewRepository
// wants it of a decider with a Snapshot. What Store.In returns has it too.
type Snapshots interface {
	// SavedState returns what was saved last, the zero SavedState if nothing was.
	SavedState(ctx context.Context, s event.Stream) (SavedState, error)
	// SaveState keeps state, unless one of a higher schema, or of the same
	// schema and a higher version, is there.
	SaveState(ctx context.Context, s event.Stream, state SavedState) error
}

// CheckState reports why state cannot be saved. Every Store calls it.
func CheckState(s event.Stream, state SavedState) error {
	switch {
	case state.Version == 0 || state.Schema < 1:
		return fmt.Errorf("eventsource: snapshot of %s: version and schema begin at 1, not %d and %d", s, state.Version, state.Schema)
	case len(state.State) > MaxState:
		return fmt.Errorf("eventsource: snapshot of %s: it has %d bytes, at most %d are allowed", s, len(state.State), MaxState)
	}
	return s.Check()
}

// begin returns the newest usable snapshot at or before a moment, as an
// aggregate, or the initial state.
func (r *Repository[S, C, E]) begin(ctx context.Context, s event.Stream, at Moment) (Loaded[S], error) {
	none := Loaded[S]{State: r.decider.Initial}
	if r.decider.Snapshot.Every == 0 {
		return none, nil
	}
	saved, err := r.store.(Snapshots).SavedState(ctx, s)
	if err != nil {
		return none, err
	}
	if saved.Schema != r.decider.Snapshot.Schema || at.excludes(saved.Version, saved.Time) {
		return none, nil
	}
	loaded := Loaded[S]{Version: saved.Version, Position: saved.Position, snapshot: saved.Version}
	if err := json.Unmarshal(saved.State, &loaded.State); err != nil {
		r.log(ctx, "eventsource: a snapshot cannot be read, events are used", s, err)
		return none, nil
	}
	return loaded, nil
}

// save keeps the state as a snapshot.
func (r *Repository[S, C, E]) save(ctx context.Context, s event.Stream, l Loaded[S], at time.Time) error {
	state, err := json.Marshal(l.State)
	if err != nil {
		return fmt.Errorf("eventsource: snapshot of %s: %w", s, err)
	}
	return r.store.(Snapshots).SaveState(ctx, s, SavedState{l.Version, l.Position, at, r.decider.Snapshot.Schema, state})
}

// keep saves a snapshot after an append if it is time. What was appended stands
// whatever comes of it, so outside of a transaction an error is only logged; in
// one it may have cost the transaction.
func (r *Repository[S, C, E]) keep(ctx context.Context, l Loaded[S], recs []event.Record, c Commit) error {
	every := r.decider.Snapshot.Every
	if every == 0 || c.Replayed || c.Version-l.snapshot < uint64(every) {
		return nil
	}
	for _, rec := range recs { // decoded: the state is what loading will make it
		e, err := r.decider.Codec.Decode(rec)
		if err != nil {
			return err
		}
		l.State = r.decider.Evolve(l.State, e.Data)
	}
	l.Version, l.Position = c.Version, c.Position
	err := r.save(ctx, c.Stream, l, time.Now().UTC())
	if err != nil && !r.inTx {
		if ctx.Err() == nil {
			r.log(ctx, "eventsource: a snapshot was not kept", c.Stream, err)
		}
		return nil
	}
	return err
}

func (r *Repository[S, C, E]) log(ctx context.Context, what string, s event.Stream, err error) {
	slog.WarnContext(ctx, what, "stream", s.String(), "error", err)
}
