package projection

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/internal/checkpoint"
	"github.com/cleave-go/cleave/sqldb"
)

// applying is the key of what is applied in a context.
type applying struct{}

type applied struct {
	key    checkpoint.Key
	stream event.Stream
	place  bus.Place
}

// Past reports, inside Apply, whether the event was applied before by an older
// version of the projection or before a Rebuild. What Apply does besides its
// view, such as recording an event, belongs to events that are not past. While
// two versions run side by side both may come to an event first: give what is
// recorded an ID derived from the event's, and it is recorded once.
func Past(ctx context.Context, tx sqldb.Tx) (bool, error) {
	a, ok := ctx.Value(applying{}).(applied)
	if !ok {
		return false, nil
	}
	past, err := checkpoint.Past(ctx, tx, a.key, a.stream, checkpoint.At(a.place))
	if err != nil {
		return false, fmt.Errorf("projection: what is past: %w", err)
	}
	return past, nil
}

// liveKey is the row whose position is the live version.
func liveKey(name string) checkpoint.Key { return checkpoint.Key{Name: "$live", Source: name} }

// Live returns the version of a projection that readers use: the newest one
// that has included, once, everything that the one before it did.
func (r *Runner) Live(ctx context.Context, name string) (int, error) {
	version, _, err := r.live(ctx, r.db, name)
	return version, err
}

func (r *Runner) live(ctx context.Context, q sqldb.Queryer, name string) (version int, at checkpoint.At, err error) {
	p, err := r.named(name)
	if err != nil {
		return 0, at, err
	}
	if at, err = checkpoint.Load(ctx, q, liveKey(name)); err != nil {
		return 0, at, fmt.Errorf("projection: live version of %s: %w", name, err)
	}
	if at.Epoch != "" {
		return int(at.Position), at, nil
	}
	layouts, err := checkpoint.ReadLayouts(ctx, q, prefix+name)
	if err != nil {
		return 0, at, fmt.Errorf("projection: versions of %s: %w", name, err)
	}
	version = p.Version
	for _, q := range r.ps {
		if q.Name == name {
			version = min(version, q.Version)
		}
	}
	for k, l := range layouts {
		if len(l.Lanes) > 0 {
			version = min(version, k.Version)
		}
	}
	return version, at, nil
}

// becomeLive waits until the version p is the live one. It reports false when
// ctx ends before.
func (r *Runner) becomeLive(ctx context.Context, p Projection) bool {
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		done, err := r.tryLive(ctx, p)
		if done {
			return true
		}
		if err != nil && ctx.Err() == nil {
			r.log.Warn("projection: the live version is not known", "projection", p.Name, "error", err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return false
		}
	}
}

func (r *Runner) tryLive(ctx context.Context, p Projection) (bool, error) {
	live, err := r.Live(ctx, p.Name)
	if err != nil || live >= p.Version {
		return err == nil, err
	}
	if ok, err := r.includes(ctx, p, live); err != nil || !ok {
		return false, err
	}
	// A source that the live version does not follow has to be read to its end.
	progress, err := r.Progress(ctx, p.Name)
	if err != nil {
		return false, err
	}
	followed, err := r.version(p.Name, live)
	if err != nil {
		return false, err
	}
	for _, g := range progress {
		old := slices.ContainsFunc(followed, func(c consumer) bool { return c.source == g.Source })
		if g.Version == p.Version && !old && g.Done < g.Head {
			return false, nil
		}
	}
	switched := false
	err = r.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		live, at, err := r.live(ctx, tx, p.Name)
		if err != nil || live >= p.Version {
			switched = err == nil
			return err
		}
		switched, err = checkpoint.Save(ctx, tx, liveKey(p.Name), at, versionAt(p.Version))
		return err
	})
	if switched {
		r.log.Info("projection: readers have a new version", "projection", p.Name, "version", p.Version, "before", live)
	}
	return switched, err
}

func versionAt(v int) checkpoint.At {
	return checkpoint.At{Epoch: "version", Position: event.Position(v)}
}

// includes reports whether the version p has done all that the version live
// has, and no stream of it is parked.
func (r *Runner) includes(ctx context.Context, p Projection, live int) (bool, error) {
	layouts, err := checkpoint.ReadLayouts(ctx, r.db, prefix+p.Name)
	if err != nil {
		return false, err
	}
	consumers, err := r.version(p.Name, p.Version)
	if err != nil {
		return false, err
	}
	for _, c := range consumers {
		k := c.key()
		now := layouts[k]
		if now == nil || len(now.Lanes) == 0 {
			return false, nil
		}
		if parked, err := checkpoint.ParkedStreams(ctx, r.db, k); err != nil || len(parked) > 0 {
			return false, err
		}
		k.Version = live
		if old := layouts[k]; old == nil || now.Low().Compare(old.Low()) >= 0 {
			continue
		} else if ok, err := r.nothingTo(ctx, c, *now, old.Low()); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// nothingTo reports whether no lane has anything to do up to a place.
func (r *Runner) nothingTo(ctx context.Context, c consumer, now checkpoint.Layout, to checkpoint.At) (bool, error) {
	s, ok := r.bus.(bus.Searcher)
	if !ok {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for _, l := range now.Lanes {
		if l.At.Compare(to) >= 0 {
			continue
		}
		f := c.Filter
		f.Lane, f.Of = l.Index, l.Of
		if _, found, err := s.Next(ctx, f, bus.Place(l.At), to.Position); found || errors.Is(err, bus.ErrNotYet) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	return true, nil
}

// Retire removes the places and parked events of a version that nobody reads
// any more. A process that still runs it stops at where it is. The version's
// tables are the service's to drop.
func (r *Runner) Retire(ctx context.Context, name string, version int) error {
	return r.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		live, _, err := r.live(ctx, tx, name)
		if err != nil {
			return err
		}
		if version >= live {
			return fmt.Errorf("projection: version %d of %s is read, or will be: version %d is live", version, name, live)
		}
		layouts, err := checkpoint.ReadLayouts(ctx, tx, prefix+name)
		if err != nil {
			return fmt.Errorf("projection: versions of %s: %w", name, err)
		}
		for k := range layouts {
			if k.Version != version {
				continue
			}
			if err := errors.Join(checkpoint.Retire(ctx, tx, k), checkpoint.UnparkAll(ctx, tx, k)); err != nil {
				return fmt.Errorf("projection: retire version %d of %s: %w", version, name, err)
			}
		}
		return nil
	})
}

// Rebuild empties the newest version here of a projection and has it built from
// the first event, by whoever runs it. Then it yields how far that is, until
// everything is included that was there when it began. Readers see a view that
// is not complete meanwhile; a new Version spares them that. Parked streams are
// forgotten: their events come again.
func (r *Runner) Rebuild(ctx context.Context, name string) iter.Seq2[Progress, error] {
	return func(yield func(Progress, error) bool) {
		p, err := r.named(name)
		if err == nil {
			err = r.restart(ctx, p)
		}
		if err != nil {
			yield(Progress{}, err)
			return
		}
		for {
			g, err := r.total(ctx, p)
			if !yield(g, err) || err != nil || g.Done >= g.Head {
				return
			}
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
				yield(g, ctx.Err())
				return
			}
		}
	}
}

func (r *Runner) restart(ctx context.Context, p Projection) error {
	if p.Reset == nil {
		return fmt.Errorf("projection: %s has no Reset that empties its tables: give it a new Version instead", p.Name)
	}
	return r.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		for _, source := range p.Sources {
			k := checkpoint.Key{Name: prefix + p.Name, Version: p.Version, Source: source}
			if err := errors.Join(checkpoint.Reset(ctx, tx, k), checkpoint.UnparkAll(ctx, tx, k)); err != nil {
				return fmt.Errorf("projection: rebuild %s: %w", p.Name, err)
			}
		}
		if err := p.Reset(ctx, tx); err != nil {
			return fmt.Errorf("projection: reset %s: %w", p.Name, err)
		}
		return nil
	})
}
