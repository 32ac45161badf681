package membus

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
)

// Bus joins the sources and subscribers of one process. All methods may be
// called at the same time.
type Bus struct {
	mu      sync.Mutex
	sources map[string][]*publication
	changed chan struct{} // closed, and made anew, when a source comes
}

var (
	_ bus.Bus      = (*Bus)(nil)
	_ bus.Searcher = (*Bus)(nil)
)

// publication is one call of Publish; ctx ends with it.
type publication struct {
	source bus.Source
	ctx    context.Context
}

// New returns a bus without sources.
func New() *Bus {
	return &Bus{sources: make(map[string][]*publication), changed: make(chan struct{})}
}

// Publish offers s to subscribers until ctx ends, then returns nil.
func (b *Bus) Publish(ctx context.Context, s bus.Source) error {
	p := &publication{s, ctx}
	b.mu.Lock()
	b.sources[s.Name()] = append(b.sources[s.Name()], p)
	close(b.changed)
	b.changed = make(chan struct{})
	b.mu.Unlock()

	<-ctx.Done()

	b.mu.Lock()
	defer b.mu.Unlock()
	b.sources[s.Name()] = slices.DeleteFunc(b.sources[s.Name()], func(q *publication) bool { return q == p })
	return nil
}

// Subscribe yields what the source's table holds behind after, and waits for
// more. An error of the table ends it.
func (b *Bus) Subscribe(ctx context.Context, f bus.Filter, after bus.Place) iter.Seq2[bus.Message, error] {
	return func(yield func(bus.Message, error) bool) {
		for {
			p, err := b.published(ctx, f.Source)
			if err != nil {
				return
			}
			if !follow(ctx, p, f, &after, yield) {
				return
			}
		}
	}
}

// published waits until the source is published.
func (b *Bus) published(ctx context.Context, name string) (*publication, error) {
	for {
		b.mu.Lock()
		ps, changed := b.sources[name], b.changed
		i := slices.IndexFunc(ps, func(p *publication) bool { return p.ctx.Err() == nil })
		b.mu.Unlock()
		if i >= 0 {
			return ps[i], ctx.Err()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// follow yields from one publication until that ends (then it returns true) or
// the subscription does.
func follow(ctx context.Context, p *publication, f bus.Filter, at *bus.Place, yield func(bus.Message, error) bool) bool {
	feed, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	again := func() bool { return p.ctx.Err() != nil && ctx.Err() == nil }
	// What a source says when it has ended, a closed database for example, is no
	// error. Its own context tells first: feed ends a moment after it.
	ended := func() bool { return p.ctx.Err() != nil || feed.Err() != nil }

	now, err := enter(feed, p.source, at)
	if err != nil {
		if !ended() {
			yield(bus.Message{}, err)
		}
		return again()
	}
	for r, err := range p.source.Feed(feed, at.Position, true) {
		if err == nil && r.Position > now.head {
			// The table may have gone on in a new epoch behind what was there.
			now, err = look(feed, p.source)
		}
		if err != nil {
			if !ended() {
				yield(bus.Message{}, fmt.Errorf("membus: read the events of %s: %w", f.Source, err))
			}
			return again()
		}
		*at = bus.Place{Epoch: bus.EpochAt(now.epochs, r.Position), Position: r.Position}
		subject := bus.Subject(f.Source, r)
		if !f.Match(subject) {
			continue
		}
		if !yield(bus.Message{Subject: subject, Source: f.Source, Place: *at, Record: r}, nil) {
			return false
		}
	}
	return again()
}

// table is what is known of a source's table: the epochs of all that is up to
// head stay as they are.
type table struct {
	head   event.Position
	epochs []bus.Epoch
}

func look(ctx context.Context, s bus.Source) (t table, err error) {
	if t.head, err = s.Head(ctx); err != nil {
		return t, fmt.Errorf("membus: end of the events of %s: %w", s.Name(), err)
	}
	if t.epochs, err = s.Epochs(ctx); err != nil {
		return t, fmt.Errorf("membus: epochs of %s: %w", s.Name(), err)
	}
	return t, nil
}

// enter moves a place to where the source's table goes on behind it.
func enter(ctx context.Context, s bus.Source, at *bus.Place) (table, error) {
	t, err := look(ctx, s)
	if err != nil {
		return t, err
	}
	*at, _ = bus.Enter(t.epochs, bus.Place{Epoch: at.Epoch, Position: at.Position})
	if t.head < at.Position {
		return t, fmt.Errorf("membus: %s ends at position %d, and a subscriber has seen %d: %w", s.Name(), t.head, at.Position, bus.ErrAhead)
	}
	return t, nil
}

// Next implements bus.Searcher.
func (b *Bus) Next(ctx context.Context, f bus.Filter, after bus.Place, until event.Position) (event.Position, bool, error) {
	p, err := b.published(ctx, f.Source)
	if err != nil {
		return 0, false, err
	}
	now, err := enter(ctx, p.source, &after)
	if err != nil {
		return 0, false, err
	}
	if now.head < until {
		return 0, false, bus.ErrNotYet
	}
	for r, err := range p.source.Feed(ctx, after.Position, false) {
		if err != nil {
			return 0, false, err
		}
		if r.Position > until {
			break
		}
		if f.Match(bus.Subject(f.Source, r)) {
			return r.Position, true, nil
		}
	}
	return 0, false, nil
}

// Last implements bus.Searcher.
func (b *Bus) Last(ctx context.Context, source string) (bus.Place, error) {
	p, err := b.published(ctx, source)
	if err != nil {
		return bus.Place{}, err
	}
	now, err := look(ctx, p.source)
	if err != nil || now.head == 0 {
		return bus.Place{}, err
	}
	return bus.Place{Epoch: bus.EpochAt(now.epochs, now.head), Position: now.head}, nil
}
