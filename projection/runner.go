package projection

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/sqldb"
)

// Options adjust a Runner. Nil means the defaults.
type Options struct {
	Logger *slog.Logger  // Default: slog.Default()
	Wait   time.Duration // the longest that Wait waits. Default: 2 s
}

// Runner keeps projections up to date.
type Runner struct {
	wait      time.Duration
	consumers []consumer
}

// consumer follows one source for one projection.
type consumer struct {
	projection, source string
	*bus.Consumer
}

// NewRunner returns a runner of projections whose views and places are in db.
// It starts nothing.
func NewRunner(db *sqldb.DB, b bus.Bus, o *Options, ps ...Projection) (*Runner, error) {
	if o == nil {
		o = &Options{}
	}
	r := &Runner{wait: cmp.Or(o.Wait, 2*time.Second)}
	for i, p := range ps {
		if err := p.check(); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(ps[:i], func(q Projection) bool { return q.Name == p.Name }) {
			return nil, fmt.Errorf("projection: two projections are named %s", p.Name)
		}
		for _, source := range slices.Compact(slices.Sorted(slices.Values(p.Sources))) {
			r.consumers = append(r.consumers, consumer{p.Name, source, &bus.Consumer{
				Name:    "projection:" + p.Name,
				Version: p.Version,
				DB:      db,
				Bus:     b,
				Logger:  o.Logger,
				Filter:  bus.Filter{Source: source, Subjects: []string{"evt." + source + ".>"}},
				Handle:  p.Apply,
			}})
		}
	}
	return r, nil
}

func (p Projection) check() error {
	switch {
	case p.Name == "":
		return errors.New("projection: a projection needs a name")
	case p.Apply == nil:
		return fmt.Errorf("projection: %s has no Apply", p.Name)
	case len(p.Sources) == 0 || slices.Contains(p.Sources, ""):
		return fmt.Errorf("projection: %s needs the names of the services it follows", p.Name)
	case p.Version < 0:
		return fmt.Errorf("projection: %s has the version %d", p.Name, p.Version)
	}
	return nil
}

// Run applies what is recorded until ctx ends.
func (r *Runner) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, c := range r.consumers {
		wg.Go(func() {
			if err := c.Run(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("projection %s of %s: %w", c.projection, c.source, err))
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// Wait returns when the projection includes all that t names of the sources it
// follows; other sources do not count. The error is bus.ErrNotYet when that
// does not come to pass in time (Options.Wait, or the end of ctx if that is
// earlier).
func (r *Runner) Wait(ctx context.Context, name string, t event.Token) error {
	if !slices.ContainsFunc(r.consumers, func(c consumer) bool { return c.projection == name }) {
		return fmt.Errorf("projection: no projection is named %s", name)
	}
	ctx, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	for _, c := range r.consumers {
		mark, ok := t.Mark(c.source)
		if !ok || c.projection != name {
			continue
		}
		if err := c.Consumer.Wait(ctx, mark); err != nil {
			if ctx.Err() != nil {
				return fmt.Errorf("projection: %s does not include position %d of %s: %w", name, mark.Position, c.source, bus.ErrNotYet)
			}
			return fmt.Errorf("projection: wait for %s: %w", name, err)
		}
	}
	return nil
}
