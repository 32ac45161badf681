package eventsource

import (
	"context"
	"errors"
	"fmt"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/sqldb"
)

// Decider is a whole aggregate: two pure functions over a sealed interface of
// events E. There is no base type to embed.
type Decider[S, C, E any] struct {
	Category string // of its streams: "order"
	Codec    *event.Codec[E]
	Initial  S
	// Evolve returns the state after e, and leaves what state refers to (maps,
	// slices) as it is: others hold it too. It accepts every event that was
	// ever recorded, so it has no error to return.
	Evolve func(state S, e E) S
	// Decide returns what happens because of the command, nothing if it has
	// been done already, or the reason why it must not be. It is called again
	// when another writer was faster. May be nil if only Do is used.
	Decide func(state S, command C) ([]E, error)
	// Snapshot is when to keep the state beside the events. Zero: never.
	Snapshot Snapshot
	// Begins reports whether the state after e is the same whatever came
	// before, as after an opening balance: a stream that was truncated before
	// such an event is whole. Nil: no event is such.
	Begins func(e E) bool
}

// Repository loads, decides and appends. It is safe for concurrent use.
type Repository[S, C, E any] struct {
	store   Store
	decider Decider[S, C, E]
	inTx    bool
}

// NewRepository returns the repository of a decider's aggregates in st. It
// panics, so that a program does not start, if the decider has no Category,
// Codec or Evolve, or a Snapshot that cannot be or that st cannot keep.
func NewRepository[S, C, E any](st Store, d Decider[S, C, E]) *Repository[S, C, E] {
	switch {
	case st == nil:
		panic("eventsource: NewRepository needs a Store")
	case d.Codec == nil || d.Evolve == nil:
		panic(fmt.Sprintf("eventsource: the decider of %q needs a Codec and Evolve", d.Category))
	}
	if snap := d.Snapshot; snap != (Snapshot{}) {
		if _, ok := st.(Snapshots); !ok {
			panic(fmt.Sprintf("eventsource: the store keeps no snapshots, which the decider of %q wants", d.Category))
		}
		if snap.Every < 1 || snap.Schema < 1 {
			panic(fmt.Sprintf("eventsource: the Snapshot of the decider of %q needs Every and Schema of 1 or more, not %+v", d.Category, snap))
		}
	}
	if err := (event.Stream{Category: d.Category, ID: "x"}).Check(); err != nil {
		panic(fmt.Sprintf("eventsource: decider: %v", err))
	}
	return &Repository[S, C, E]{store: st, decider: d}
}

// In returns the same repository reading and writing inside tx. A conflict is
// not retried there: tx sees no other writer.
func (r *Repository[S, C, E]) In(tx sqldb.Tx) *Repository[S, C, E] {
	return &Repository[S, C, E]{r.store.In(tx), r.decider, true}
}

// Loaded is an aggregate as it was read.
type Loaded[S any] struct {
	State    S
	Version  uint64         // 0: there are no events
	Position event.Position // of the last event; 0: there are none

	snapshot uint64 // the version of the snapshot it began with
}

// Option changes one call of Handle or Do.
type Option func(*options)

type options struct {
	version *uint64
	key     string
	meta    event.Meta
}

// IfVersion lets the call succeed only if the aggregate is at version v, which
// its caller has seen; otherwise the error is a *ConflictError at once.
func IfVersion(v uint64) Option { return func(o *options) { o.version = &v } }

// Idempotent names the command: if events were recorded for the same key of
// the same aggregate, Handle decides nothing and answers as it did then, with
// Commit.Replayed. A command that made no event leaves no trace and is decided
// again.
func Idempotent(key string) Option { return func(o *options) { o.key = key } }

// WithMeta adds m to the metadata that the events take from the context.
func WithMeta(m event.Meta) Option { return func(o *options) { o.meta = o.meta.Merge(m) } }

// tries is how often a decision is made anew after conflicts: once and three
// times more.
const tries = 4

// Handle loads the aggregate, decides on cmd and appends the events. If another
// writer was faster it starts again, three times at most, unless IfVersion is
// given. A decision without events writes nothing: its Commit has the
// aggregate's version and no position. What Decide returns as an error comes
// back as it is.
func (r *Repository[S, C, E]) Handle(ctx context.Context, id string, cmd C, opts ...Option) (Commit, error) {
	if r.decider.Decide == nil {
		return Commit{}, fmt.Errorf("eventsource: the decider of %q has no Decide: use Do", r.decider.Category)
	}
	return r.Do(ctx, id, func(state S) ([]E, error) { return r.decider.Decide(state, cmd) }, opts...)
}

// Do is Handle for a decision written in place. decide may be called again.
func (r *Repository[S, C, E]) Do(ctx context.Context, id string, decide func(S) ([]E, error), opts ...Option) (Commit, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	for try := 1; ; try++ {
		c, err := r.once(ctx, id, decide, o)
		if !errors.Is(err, ErrConflict) || o.version != nil || try == tries {
			return c, err
		}
	}
}

func (r *Repository[S, C, E]) once(ctx context.Context, id string, decide func(S) ([]E, error), o options) (Commit, error) {
	stream := r.stream(id)
	var derived func(n int) event.ID
	if o.key != "" {
		derived = func(n int) event.ID { return event.DeriveID(stream.String()+"\x00"+o.key, n) }
	}
	loaded, err := r.load(ctx, stream, now)
	if err != nil {
		return Commit{}, err
	}
	done, err := r.done(ctx, stream, derived) // after loading: what it did, was loaded
	switch {
	case err != nil || done.Replayed:
		return done, err
	case o.version != nil && *o.version != loaded.Version:
		return Commit{}, &ConflictError{stream, At(*o.version), loaded.Version}
	}
	events, err := decide(loaded.State)
	if err != nil {
		return Commit{}, err
	}
	if len(events) == 0 {
		return Commit{Stream: stream, Version: loaded.Version, Position: loaded.Position}, nil
	}
	recs := make([]event.Record, len(events))
	meta := event.MetaFrom(ctx).Merge(o.meta)
	for i, e := range events {
		if recs[i], err = r.decider.Codec.Encode(e); err != nil {
			return Commit{}, fmt.Errorf("eventsource: decide on %s: %w", stream, err)
		}
		if derived != nil {
			recs[i].ID = derived(i)
		}
		if meta.Correlation == "" {
			meta.Correlation = recs[i].ID.String() // of the first: what follows belongs to it
		}
		recs[i].Meta = meta
	}
	c, err := r.store.Append(ctx, stream, At(loaded.Version), recs...)
	if err == nil {
		err = r.keep(ctx, loaded, recs, c)
	}
	return c, err
}

// done returns the commit of the records with the IDs that derived gives; it is
// not Replayed if there are none.
func (r *Repository[S, C, E]) done(ctx context.Context, s event.Stream, derived func(n int) event.ID) (done Commit, err error) {
	for n := 0; derived != nil; n++ {
		c, found, err := r.store.Lookup(ctx, derived(n))
		if err != nil {
			return Commit{}, fmt.Errorf("eventsource: look for a repeated command on %s: %w", s, err)
		}
		if !found || c.Stream != s {
			break
		}
		done = c
		done.Replayed = true
	}
	return done, nil
}

// Load returns the aggregate's state. One without events has the initial state
// and version 0.
func (r *Repository[S, C, E]) Load(ctx context.Context, id string) (Loaded[S], error) {
	return r.LoadAt(ctx, id, now)
}

func (r *Repository[S, C, E]) stream(id string) event.Stream {
	return event.Stream{Category: r.decider.Category, ID: id}
}
