package projection

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/internal/checkpoint"
)

// Progress is how far a version of a projection has come in a source.
type Progress struct {
	Projection string
	Version    int
	Source     string         // "": all of them
	Done       event.Position // included; what is not for the projection counts as included
	Head       event.Position // the source's last, as far as the bus has it
	Rate       float64        // positions a second, of late
	ETA        time.Duration  // until Head is included at that rate; 0 when it is, or is not known
	Lanes      []bus.Place    // where each lane stands
	Parked     int            // streams
}

func (g *Progress) estimate() {
	if g.Rate > 0 && g.Done < g.Head {
		g.ETA = time.Duration(float64(g.Head-g.Done) / g.Rate * float64(time.Second))
	}
}

// Progress returns how far each version here of a projection is in each of its
// sources. Where one is behind, the rate is measured: that takes 200 ms unless
// Progress was called a short time ago.
func (r *Runner) Progress(ctx context.Context, name string) ([]Progress, error) {
	if _, err := r.named(name); err != nil {
		return nil, err
	}
	var all []Progress
	for _, c := range r.consumers {
		if c.Projection.Name != name {
			continue
		}
		g, err := r.progress(ctx, c)
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, nil
}

// total is the progress of a version in all its sources together.
func (r *Runner) total(ctx context.Context, p Projection) (Progress, error) {
	sum := Progress{Projection: p.Name, Version: p.Version}
	consumers, err := r.version(p.Name, p.Version)
	if err != nil {
		return sum, err
	}
	for _, c := range consumers {
		g, err := r.progress(ctx, c)
		if err != nil {
			return sum, err
		}
		sum.Done += min(g.Done, g.Head)
		sum.Head += g.Head
		sum.Rate += g.Rate
		sum.Parked += g.Parked
		sum.Lanes = append(sum.Lanes, g.Lanes...)
	}
	sum.estimate()
	return sum, nil
}

func (r *Runner) progress(ctx context.Context, c consumer) (Progress, error) {
	g, err := r.stands(ctx, c)
	if err != nil || g.Done >= g.Head {
		return g, err
	}
	rate, ok := r.meters.rate(c.key(), time.Now(), g.Done)
	if !ok {
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return g, ctx.Err()
		}
		if g, err = r.stands(ctx, c); err != nil {
			return g, err
		}
		rate, _ = r.meters.rate(c.key(), time.Now(), g.Done)
	}
	g.Rate = rate
	g.estimate()
	return g, nil
}

func (r *Runner) stands(ctx context.Context, c consumer) (Progress, error) {
	g := Progress{Projection: c.Projection.Name, Version: c.Projection.Version, Source: c.source}
	places, err := c.Places(ctx)
	if err != nil && !errors.Is(err, bus.ErrRetired) {
		return g, err
	}
	at, err := c.Place(ctx)
	if err != nil && !errors.Is(err, bus.ErrRetired) {
		return g, err
	}
	parked, err := checkpoint.ParkedStreams(ctx, r.db, c.key())
	if err != nil {
		return g, fmt.Errorf("projection: parked streams of %s: %w", c.Projection.Name, err)
	}
	g.Lanes, g.Done, g.Head, g.Parked = places, at.Position, at.Position, len(parked)
	s, ok := r.bus.(bus.Searcher)
	if !ok {
		return g, nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	last, err := s.Last(ctx, c.source)
	if err != nil || last.Compare(at) <= 0 {
		return g, nil // the bus or the source cannot be reached: its end is where it was seen last
	}
	if g.Head = last.Position; last.Epoch != at.Epoch && at.Epoch != "" {
		g.Done = 0
	}
	if len(places) == 0 {
		places = []bus.Place{{}}
	}
	for i, place := range places {
		f := c.Filter
		f.Lane, f.Of = i, len(places)
		if _, found, err := s.Next(ctx, f, place, last.Position); err != nil || found {
			return g, nil
		}
	}
	g.Done = g.Head
	return g, nil
}

// meters measure how fast places move.
type meters struct {
	mu sync.Mutex
	of map[checkpoint.Key][]sample
}

type sample struct {
	at   time.Time
	done event.Position
}

// window is how far a rate looks back.
const window = 10 * time.Second

// rate notes where k is and returns how fast it came there; false when it was
// not seen before in the window.
func (m *meters) rate(k checkpoint.Key, now time.Time, done event.Position) (float64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = map[checkpoint.Key][]sample{}
	}
	list := m.of[k]
	for len(list) > 0 && (now.Sub(list[0].at) > window || list[0].done > done) {
		list = list[1:]
	}
	if n := len(list); n == 0 || now.Sub(list[n-1].at) > 50*time.Millisecond {
		list = append(list, sample{now, done})
	}
	for len(list) > 2 && list[1].done == list[0].done {
		list = list[1:] // it had not begun
	}
	m.of[k] = list
	past := now.Sub(list[0].at)
	if past < 100*time.Millisecond {
		return 0, false
	}
	return float64(done-list[0].done) / past.Seconds(), true
}
