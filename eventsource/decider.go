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
}

// Repository loads, decides and appends. It is safe for concurrent use.
type Repository[S, C, E any] struct {
	store   Store
	decider Decider[S, C, E]
}

// NewRepository returns the repository of a decider's aggregates in st. It
// panics, so that a program does not start, if the decider has no Category,
// Codec or Evolve.
func NewRepository[S, C, E any](st Store, d Decider[S, C, E]) *Repository[S, C, E] {
	switch {
	case st == nil:
		panic("eventsource: NewRepository needs a Store")
	case d.Codec == nil || d.Evolve == nil:
		panic(fmt.Sprintf("eventsource: the decider of %q needs a Codec and Evolve", d.Category))
	}
	if err := (event.Stream{Category: d.Category, ID: "x"}).Check(); err != nil {
		panic(fmt.Sprintf("eventsource: decider: %v", err))
	}
	return &Repository[S, C, E]{st, d}
}

// In returns the same repository reading and writing inside tx. A conflict is
// not retried there: tx sees no other writer.
func (r *Repository[S, C, E]) In(tx sqldb.Tx) *Repository[S, C, E] {
	return &Repository[S, C, E]{r.store.In(tx), r.decider}
}

// Loaded is an aggregate as it was read.
type Loaded[S any] struct {
	State    S
	Version  uint64         // 0: there are no events
	Position event.Position // of the last event; 0: there are none
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
	loaded, done, err := r.load(ctx, stream, derived)
	switch {
	case err != nil:
		return Commit{}, err
	case done != nil:
		return *done, nil
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
	return r.store.Append(ctx, stream, At(loaded.Version), recs...)
}

// Load returns the aggregate's state. One without events has the initial state
// and version 0.
func (r *Repository[S, C, E]) Load(ctx context.Context, id string) (Loaded[S], error) {
	loaded, _, err := r.load(ctx, r.stream(id), nil)
	return loaded, err
}

func (r *Repository[S, C, E]) stream(id string) event.Stream {
	return event.Stream{Category: r.decider.Category, ID: id}
}

// load also returns the commit of the events with the IDs that derived gives,
// if there are any.
func (r *Repository[S, C, E]) load(ctx context.Context, s event.Stream, derived func(n int) event.ID) (Loaded[S], *Commit, error) {
	loaded := Loaded[S]{State: r.decider.Initial}
	var done *Commit
	seen := 0
	for rec, err := range r.store.Read(ctx, s, ReadOptions{}) {
		if err != nil {
			return Loaded[S]{}, nil, fmt.Errorf("eventsource: load %s: %w", s, err)
		}
		e, err := r.decider.Codec.Decode(rec)
		if err != nil {
			return Loaded[S]{}, nil, fmt.Errorf("eventsource: load %s: %w", s, err)
		}
		loaded.State = r.decider.Evolve(loaded.State, e.Data)
		loaded.Version, loaded.Position = rec.Version, rec.Position
		if derived != nil && rec.ID == derived(seen) {
			seen++
			done = &Commit{Stream: s, Version: rec.Version, Position: rec.Position, Replayed: true}
		}
	}
	return loaded, done, nil
}
