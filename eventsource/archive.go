package eventsource

import (
	"context"
	"fmt"
	"time"

	"github.com/cleave-go/cleave/event"
)

// Archives is a Store that can put away what is not needed any more. What
// Store.In returns can too. A feed is not changed by truncating and archiving:
// relays, consumers and rebuilds get every record until it is purged.
type Archives interface {
	// StreamState returns what is known of a stream, the zero StreamState if it
	// does not exist.
	StreamState(ctx context.Context, s event.Stream) (StreamState, error)
	// Truncate makes Read begin at version first, which exists. It may be
	// lowered again, to 0 too, as long as nothing was purged. Aggregates are
	// truncated through their Repository, which knows whether they can still
	// be loaded.
	Truncate(ctx context.Context, s event.Stream, first uint64) error
	// Purge removes for good the metadata and data of records that Truncate has
	// hidden and that lie at or before upTo, MaxPurge of them at most, and
	// returns how many: call it again until there are none. They leave
	// the feed; their versions, positions and IDs stay taken. The caller knows
	// that every relay, consumer and view that needs them is past upTo; a view
	// that is rebuilt begins with what is left.
	Purge(ctx context.Context, s event.Stream, upTo event.Position) (int, error)
	// Archive refuses further appends, with an *ArchivedError; appends that are
	// repeated are answered as ever. The stream can be read and truncated.
	Archive(ctx context.Context, s event.Stream) error
	// Unarchive takes Archive back.
	Unarchive(ctx context.Context, s event.Stream) error
}

// MaxPurge is how many records one call of Purge removes.
const MaxPurge = 1000

// StreamState is what is known of a stream beside its records.
type StreamState struct {
	Version  uint64    // of the last record
	First    uint64    // the version that Read begins with
	Archived time.Time // zero: it is not
}

// ArchivedError says that a stream takes no more appends.
type ArchivedError struct {
	Stream event.Stream
	Since  time.Time
}

func (e *ArchivedError) Error() string {
	return fmt.Sprintf("eventsource: %s is archived since %s: it takes no more events", e.Stream, e.Since.UTC().Format(time.RFC3339))
}

// TruncatedError says that a state cannot be made of the events that are left:
// those before First are not read any more, and no snapshot of today's schema
// stands for them.
type TruncatedError struct {
	Stream event.Stream
	First  uint64
}

func (e *TruncatedError) Error() string {
	return fmt.Sprintf("eventsource: %s is truncated before version %d, and no usable snapshot stands for what is gone", e.Stream, e.First)
}

// CheckTruncate reports why a stream of that state cannot begin at version
// first; purged is the version of its last purged record. Every Store calls it.
func CheckTruncate(s event.Stream, st StreamState, first, purged uint64) error {
	switch {
	case st.Version == 0:
		return fmt.Errorf("eventsource: truncate %s: there is no such stream", s)
	case first > st.Version:
		return fmt.Errorf("eventsource: truncate %s before version %d: the last is %d, and one event has to stay", s, first, st.Version)
	case purged > 0 && first <= purged:
		return fmt.Errorf("eventsource: truncate %s before version %d: it was purged up to version %d", s, first, purged)
	}
	return nil
}

// Truncate makes the aggregate's stream begin at version first, if it can still
// be loaded: because a snapshot, which is made now, stands for all that was, or
// because the event at first is one that Begins. The error is a *TruncatedError
// if it could not. Disk space is freed by Archives.Purge.
func (r *Repository[S, C, E]) Truncate(ctx context.Context, id string, first uint64) error {
	s := r.stream(id)
	store, ok := r.store.(Archives)
	if !ok {
		return fmt.Errorf("eventsource: truncate %s: the store truncates nothing", s)
	}
	covered, err := r.beginsAt(ctx, s, first)
	if err == nil && !covered {
		covered, err = r.cover(ctx, s, first)
	}
	switch {
	case err != nil:
		return err
	case !covered:
		return &TruncatedError{s, first}
	}
	return store.Truncate(ctx, s, first)
}

// beginsAt reports whether the event at a version owes nothing to earlier ones.
func (r *Repository[S, C, E]) beginsAt(ctx context.Context, s event.Stream, version uint64) (bool, error) {
	if r.decider.Begins == nil {
		return false, nil
	}
	for rec, err := range r.store.Read(ctx, s, ReadOptions{From: version, Limit: 1}) {
		if err != nil {
			return false, err
		}
		e, err := r.decider.Codec.Decode(rec)
		return err == nil && rec.Version == version && r.decider.Begins(e.Data), err
	}
	return false, nil
}

// cover makes a snapshot and reports whether one stands for what is before first.
func (r *Repository[S, C, E]) cover(ctx context.Context, s event.Stream, first uint64) (bool, error) {
	if r.decider.Snapshot.Every == 0 {
		return false, nil
	}
	loaded, err := r.load(ctx, s, now)
	if err != nil || loaded.Version == 0 {
		return false, err
	}
	if err := r.save(ctx, s, loaded, time.Now().UTC()); err != nil {
		return false, err
	}
	saved, err := r.store.(Snapshots).SavedState(ctx, s)
	return saved.Schema == r.decider.Snapshot.Schema && saved.Version+1 >= first, err
}
