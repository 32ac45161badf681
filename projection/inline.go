package projection

import (
	"context"
	"fmt"
	"slices"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/sqldb"
)

// Inline returns st with projections whose views are part of each append: the
// events and what Apply writes for them commit together, and an error of Apply
// is the append's. It is for views of the service's own events that a command
// has to see at once, and each command pays for them. The events of one stream
// are applied in their order.
//
// st is a store in db, service the name of its service. There is no place: a
// view that comes later, or has to be built anew, is built by Build.
func Inline(db *sqldb.DB, service string, st eventsource.Store, ps ...Projection) (*InlineStore, error) {
	full, ok := st.(store)
	if !ok {
		return nil, fmt.Errorf("projection: Inline needs a store with snapshots and archives, which %T is not", st)
	}
	for _, p := range ps {
		if err := p.check(); err != nil {
			return nil, err
		}
		if len(p.Sources) != 1 || p.Sources[0] != service {
			return nil, fmt.Errorf("projection: %s is inline and follows %s only, not %q", p.Name, service, p.Sources)
		}
	}
	return &InlineStore{store: full, db: db, service: service, ps: slices.Clone(ps)}, nil
}

// store is all that eventsource may ask of a store.
type store interface {
	eventsource.Store
	eventsource.Snapshots
	eventsource.Archives
}

// InlineStore is an eventsource.Store, with Snapshots and Archives, that keeps
// views.
type InlineStore struct {
	store
	db      *sqldb.DB
	service string
	ps      []Projection
}

// Append implements eventsource.Store in a transaction of its own.
func (s *InlineStore) Append(ctx context.Context, to event.Stream, x eventsource.Expect, recs ...event.Record) (c eventsource.Commit, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) (err error) {
		c, err = s.In(tx).Append(ctx, to, x, recs...)
		return err
	})
	if err != nil {
		return eventsource.Commit{}, err
	}
	return c, nil
}

// In implements eventsource.Store.
func (s *InlineStore) In(tx sqldb.Tx) eventsource.Store {
	return &inlineTx{s.store.In(tx).(store), s, tx}
}

type inlineTx struct {
	store
	outer *InlineStore
	tx    sqldb.Tx
}

func (s *inlineTx) Append(ctx context.Context, to event.Stream, x eventsource.Expect, recs ...event.Record) (eventsource.Commit, error) {
	c, err := s.store.Append(ctx, to, x, recs...)
	if err != nil || c.Replayed {
		return c, err
	}
	n := len(recs)
	for r, err := range s.store.Read(ctx, to, eventsource.ReadOptions{From: c.Version - uint64(n) + 1, Limit: n}) {
		if err == nil {
			err = s.outer.apply(ctx, s.tx, r)
		}
		if err != nil {
			return eventsource.Commit{}, err
		}
	}
	return c, nil
}

func (s *InlineStore) apply(ctx context.Context, tx sqldb.Tx, r event.Record) error {
	m := bus.Message{Subject: bus.Subject(s.service, r), Source: s.service, Place: bus.Place{Position: r.Position}, Record: r}
	ctx = event.WithMeta(ctx, event.Follows(r))
	for _, p := range s.ps {
		if err := p.Apply(ctx, tx, m); err != nil {
			return fmt.Errorf("projection: %s: %w", p.Name, err)
		}
	}
	return nil
}

// Build empties the views and applies all events to them, in one transaction.
// Call it while nobody appends: before the service takes calls.
func (s *InlineStore) Build(ctx context.Context) error {
	for _, p := range s.ps {
		if p.Reset == nil {
			return fmt.Errorf("projection: %s has no Reset that empties its tables", p.Name)
		}
	}
	return s.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		for _, p := range s.ps {
			if err := p.Reset(ctx, tx); err != nil {
				return fmt.Errorf("projection: reset %s: %w", p.Name, err)
			}
		}
		for r, err := range s.store.In(tx).Feed(ctx, eventsource.FeedOptions{}) {
			if err == nil {
				err = s.apply(ctx, tx, r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
