package memstore

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/sqldb"
)

// Store is an eventsource.Store in memory. Make it with New.
type Store struct {
	epoch  string
	writer chan struct{} // holds a token while nobody writes

	mu        sync.RWMutex
	records   []event.Record // the one at position p is at p-1
	committed int            // of records; the rest belongs to the one who writes
	streams   map[event.Stream][]event.Position
	ids       map[event.ID]event.Position
	changed   chan struct{} // closed at the next commit
	aside     changes
	pending   changes // of the one who writes
}

var (
	_ eventsource.Store     = (*Store)(nil)
	_ eventsource.Snapshots = (*Store)(nil)
	_ eventsource.Archives  = (*Store)(nil)
)

// New returns an empty store.
func New() *Store {
	st := &Store{
		epoch:   event.NewID().String(),
		writer:  make(chan struct{}, 1),
		streams: map[event.Stream][]event.Position{},
		ids:     map[event.ID]event.Position{},
		changed: make(chan struct{}),
		aside:   noChanges(),
		pending: noChanges(),
	}
	st.writer <- struct{}{}
	return st
}

// Update runs f in a transaction for In. It is undone if f returns an error,
// panics or ends its goroutine. One runs at a time.
func (st *Store) Update(ctx context.Context, f func(ctx context.Context, tx sqldb.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-st.writer:
	case <-ctx.Done():
		return ctx.Err()
	}
	tx := &tx{st: st}
	commit := false
	defer func() {
		tx.ended.Store(true)
		st.end(commit)
		st.writer <- struct{}{}
	}()
	err := f(ctx, tx)
	commit = err == nil
	return err
}

// end makes what was appended visible, or takes it back.
func (st *Store) end(commit bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	defer func() { st.pending = noChanges() }()
	if commit {
		st.aside.add(st.pending)
		for p := range st.pending.purged {
			st.records[p-1].Data, st.records[p-1].Meta = nil, event.Meta{}
		}
		if len(st.records) > st.committed {
			st.committed = len(st.records)
			close(st.changed)
			st.changed = make(chan struct{})
		}
		return
	}
	for len(st.records) > st.committed {
		last := len(st.records) - 1
		r := st.records[last]
		delete(st.ids, r.ID)
		positions := st.streams[r.Stream]
		if st.streams[r.Stream] = positions[:len(positions)-1]; len(positions) == 1 {
			delete(st.streams, r.Stream)
		}
		st.records[last] = event.Record{}
		st.records = st.records[:last]
	}
}

// Append implements eventsource.Store.
func (st *Store) Append(ctx context.Context, s event.Stream, x eventsource.Expect, recs ...event.Record) (eventsource.Commit, error) {
	var c eventsource.Commit
	err := st.Update(ctx, func(ctx context.Context, tx sqldb.Tx) (err error) {
		c, err = st.append(s, x, recs)
		return err
	})
	return c, err
}

// append is called by the one who writes.
func (st *Store) append(s event.Stream, x eventsource.Expect, recs []event.Record) (eventsource.Commit, error) {
	if err := eventsource.CheckAppend(s, recs); err != nil {
		return eventsource.Commit{}, err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if c, found, err := st.replay(s, recs); found || err != nil {
		return c, err
	}
	if since := st.rest(s, true).archived; !since.IsZero() {
		return eventsource.Commit{}, &eventsource.ArchivedError{Stream: s, Since: since}
	}
	version := uint64(len(st.streams[s]))
	if !x.Match(version) {
		return eventsource.Commit{}, &eventsource.ConflictError{Stream: s, Expected: x, Actual: version}
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	for _, r := range recs {
		version++
		r.Stream, r.Version, r.Time = s, version, now
		r.Position = event.Position(len(st.records) + 1)
		r = clone(r)
		st.records = append(st.records, r)
		st.streams[s] = append(st.streams[s], r.Position)
		st.ids[r.ID] = r.Position
	}
	return eventsource.Commit{Stream: s, Version: version, Position: event.Position(len(st.records))}, nil
}

// replay looks for recs among what is recorded.
func (st *Store) replay(s event.Stream, recs []event.Record) (c eventsource.Commit, found bool, err error) {
	c = eventsource.Commit{Stream: s, Replayed: true}
	for i, r := range recs {
		p, ok := st.ids[r.ID]
		if i == 0 {
			found = ok
		}
		if !ok && !found {
			continue
		}
		if !ok {
			return eventsource.Commit{}, true, fmt.Errorf("eventsource: append to %s: %w: %s, but not %s", s, eventsource.ErrDuplicate, recs[0].ID, r.ID)
		}
		old := st.records[p-1]
		if !found || old.Stream != s || i > 0 && old.Version != c.Version+1 {
			return eventsource.Commit{}, true, fmt.Errorf("eventsource: append to %s: %w: %s at position %d", s, eventsource.ErrDuplicate, r.ID, p)
		}
		c.Version, c.Position = old.Version, old.Position
	}
	return c, found, nil
}

// Read implements eventsource.Store.
func (st *Store) Read(ctx context.Context, s event.Stream, o eventsource.ReadOptions) iter.Seq2[event.Record, error] {
	return st.read(ctx, s, o, false)
}

func (st *Store) read(ctx context.Context, s event.Stream, o eventsource.ReadOptions, inTx bool) iter.Seq2[event.Record, error] {
	return func(yield func(event.Record, error) bool) {
		st.mu.RLock()
		next := max(o.From, st.rest(s, inTx).first, 1)
		st.mu.RUnlock()
		for n := 0; o.Limit <= 0 || n < o.Limit; n++ {
			if err := ctx.Err(); err != nil {
				yield(event.Record{}, err)
				return
			}
			r, ok := st.version(s, next, inTx)
			if !ok || !yield(r, nil) {
				return
			}
			next++
		}
	}
}

func (st *Store) version(s event.Stream, v uint64, inTx bool) (event.Record, bool) {
	st.mu.RLock()
	defer st.mu.RUnlock()
	positions := st.streams[s]
	if v > uint64(len(positions)) {
		return event.Record{}, false
	}
	return st.at(positions[v-1], inTx)
}

// at returns the record at p, if the reader may see it.
func (st *Store) at(p event.Position, inTx bool) (event.Record, bool) {
	visible := st.committed
	if inTx {
		visible = len(st.records)
	}
	if p > event.Position(visible) {
		return event.Record{}, false
	}
	return clone(st.records[p-1]), true
}

// Feed implements eventsource.Store.
func (st *Store) Feed(ctx context.Context, o eventsource.FeedOptions) iter.Seq2[event.Record, error] {
	return st.feed(ctx, o, false)
}

func (st *Store) feed(ctx context.Context, o eventsource.FeedOptions, inTx bool) iter.Seq2[event.Record, error] {
	return func(yield func(event.Record, error) bool) {
		after := o.After
		for n := 0; o.Limit <= 0 || n < o.Limit; {
			st.mu.RLock()
			var r event.Record
			ok := false
			if after < event.Position(len(st.records)) {
				r, ok = st.at(after+1, inTx)
			}
			purged := ok && st.gone(after+1, inTx)
			changed := st.changed
			st.mu.RUnlock()
			switch err := ctx.Err(); {
			case err != nil:
				yield(event.Record{}, err)
				return
			case purged:
				after++
				continue
			case ok:
				if !yield(r, nil) {
					return
				}
				after++
				n++
				continue
			case !o.Live:
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
			}
		}
	}
}

// Lookup implements eventsource.Store.
func (st *Store) Lookup(ctx context.Context, id event.ID) (eventsource.Commit, bool, error) {
	return st.lookup(ctx, id, false)
}

func (st *Store) lookup(ctx context.Context, id event.ID, inTx bool) (eventsource.Commit, bool, error) {
	st.mu.RLock()
	defer st.mu.RUnlock()
	if p, ok := st.ids[id]; ok {
		if r, ok := st.at(p, inTx); ok {
			return eventsource.Commit{Stream: r.Stream, Version: r.Version, Position: p}, true, ctx.Err()
		}
	}
	return eventsource.Commit{}, false, ctx.Err()
}

// Head implements eventsource.Store.
func (st *Store) Head(ctx context.Context) (event.Position, error) {
	st.mu.RLock()
	defer st.mu.RUnlock()
	return event.Position(st.committed), ctx.Err()
}

// Epoch implements eventsource.Store. Each store has its own.
func (st *Store) Epoch(ctx context.Context) (string, error) { return st.epoch, ctx.Err() }

// clone makes a record share nothing with its giver or taker.
func clone(r event.Record) event.Record {
	r.Data = append([]byte{}, r.Data...)
	r.Meta.Tags = slices.Clone(r.Meta.Tags)
	r.Meta.Ext = maps.Clone(r.Meta.Ext)
	return r
}
