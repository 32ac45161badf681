package eventsource

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/cleave-go/cleave/event"
)

// Moment is a place in an aggregate's past.
type Moment struct {
	version uint64
	time    time.Time // zero: any
}

// AtVersion is the moment right after the event with version v.
func AtVersion(v uint64) Moment { return Moment{version: v} }

// AtTime is the moment t: events recorded then or before have happened.
func AtTime(t time.Time) Moment { return Moment{math.MaxUint64, t} }

var now = AtVersion(math.MaxUint64)

// excludes reports whether an event comes after the moment.
func (m Moment) excludes(version uint64, recorded time.Time) bool {
	return version > m.version || !m.time.IsZero() && recorded.After(m.time)
}

// LoadAt returns the aggregate as it was at a moment. One that has not come so
// far is returned as it is. The error is a *TruncatedError if the events that
// tell are not read any more.
func (r *Repository[S, C, E]) LoadAt(ctx context.Context, id string, at Moment) (Loaded[S], error) {
	return r.load(ctx, r.stream(id), at)
}

// load folds the events up to a moment.
func (r *Repository[S, C, E]) load(ctx context.Context, s event.Stream, at Moment) (Loaded[S], error) {
	loaded, err := r.fold(ctx, s, at)
	if _, truncated := err.(*TruncatedError); truncated && r.decider.Snapshot.Every > 0 {
		loaded, err = r.fold(ctx, s, at) // it may have been between snapshot and events
	}
	if err != nil {
		return Loaded[S]{}, fmt.Errorf("eventsource: load %s: %w", s, err)
	}
	return loaded, nil
}

func (r *Repository[S, C, E]) fold(ctx context.Context, s event.Stream, at Moment) (Loaded[S], error) {
	loaded, err := r.begin(ctx, s, at)
	if err != nil {
		return loaded, err
	}
	for rec, err := range r.store.Read(ctx, s, ReadOptions{From: loaded.Version + 1}) {
		if err != nil {
			return loaded, err
		}
		gap := rec.Version != loaded.Version+1
		if !gap && at.excludes(rec.Version, rec.Time) {
			return loaded, nil
		}
		e, err := r.decider.Codec.Decode(rec)
		if err != nil {
			return loaded, err
		}
		if gap {
			if at.excludes(rec.Version, rec.Time) || r.decider.Begins == nil || !r.decider.Begins(e.Data) {
				return loaded, &TruncatedError{Stream: s, First: rec.Version}
			}
			loaded.State = r.decider.Initial
		}
		loaded.State = r.decider.Evolve(loaded.State, e.Data)
		loaded.Version, loaded.Position = rec.Version, rec.Position
	}
	return loaded, nil
}
