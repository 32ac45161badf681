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
	"github.com/cleave-go/cleave/internal/checkpoint"
	"github.com/cleave-go/cleave/sqldb"
)

// Options adjust a Runner. Nil means the defaults.
type Options struct {
	Logger *slog.Logger  // Default: slog.Default()
	Wait   time.Duration // the longest that Wait waits. Default: 2 s
}

// Runner keeps projections up to date. Its methods may be called at the same
// time, also while it does not run.
type Runner struct {
	db        *sqldb.DB
	bus       bus.Bus
	log       *slog.Logger
	wait      time.Duration
	ps        []Projection
	consumers []consumer
	meters    meters
}

// consumer follows one source for one projection.
type consumer struct {
	Projection
	source string
	*bus.Consumer
}

func (c consumer) key() checkpoint.Key {
	return checkpoint.Key{Name: prefix + c.Projection.Name, Version: c.Projection.Version, Source: c.source}
}

// prefix is before a projection's name in the name of its consumers.
const prefix = "projection:"

// NewRunner returns a runner of projections whose views and places are in db.
// One name may come with several versions. It starts nothing.
func NewRunner(db *sqldb.DB, b bus.Bus, o *Options, ps ...Projection) (*Runner, error) {
	if o == nil {
		o = &Options{}
	}
	r := &Runner{db: db, bus: b, log: o.Logger, wait: cmp.Or(o.Wait, 2*time.Second), ps: slices.Clone(ps)}
	if r.log == nil {
		r.log = slog.Default()
	}
	for i, p := range ps {
		if err := p.check(); err != nil {
			return nil, err
		}
		if slices.ContainsFunc(ps[:i], func(q Projection) bool { return q.Name == p.Name && q.Version == p.Version }) {
			return nil, fmt.Errorf("projection: two projections are named %s, version %d", p.Name, p.Version)
		}
		for _, source := range slices.Compact(slices.Sorted(slices.Values(p.Sources))) {
			r.consumers = append(r.consumers, r.consumer(p, source))
		}
	}
	return r, nil
}

func (r *Runner) consumer(p Projection, source string) consumer {
	c := consumer{Projection: p, source: source}
	c.Consumer = &bus.Consumer{
		Name: prefix + p.Name, Version: p.Version, Lanes: p.Lanes, OnError: p.OnError,
		DB: r.db, Bus: r.bus, Logger: r.log,
		Filter: bus.Filter{Source: source, Subjects: []string{"evt." + source + ".>"}},
		Handle: func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
			return p.Apply(context.WithValue(ctx, applying{}, applied{c.key(), m.Stream, m.Place}), tx, m)
		},
	}
	return c
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
	case p.Lanes < 0 || p.Lanes > event.Lanes:
		return fmt.Errorf("projection: %s has %d lanes, at most %d are possible", p.Name, p.Lanes, event.Lanes)
	}
	return nil
}

// Run applies what is recorded until ctx ends. A version that is built becomes
// the live one here; then its older ones of this runner end.
func (r *Runner) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, newest := range r.newest() {
		older, stop := context.WithCancel(ctx)
		defer stop()
		for _, c := range r.consumers {
			if c.Projection.Name != newest.Name {
				continue
			}
			ctx := ctx
			if c.Projection.Version < newest.Version {
				ctx = older
			}
			wg.Go(func() {
				if err := r.follow(ctx, c); err != nil {
					cancel(err)
				}
			})
		}
		wg.Go(func() {
			if r.becomeLive(ctx, newest) {
				stop()
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func (r *Runner) follow(ctx context.Context, c consumer) error {
	err := c.Run(ctx)
	switch {
	case err == nil || ctx.Err() != nil:
		return nil
	case errors.Is(err, bus.ErrRetired):
		r.log.Error("this version of the projection was retired, its view stays as it is", "projection", c.Projection.Name, "version", c.Projection.Version)
		return nil
	}
	return fmt.Errorf("projection %s of %s: %w", c.Projection.Name, c.source, err)
}

// newest returns the highest version here of each name.
func (r *Runner) newest() (list []Projection) {
	for _, p := range r.ps {
		if q, _ := r.named(p.Name); q.Version == p.Version {
			list = append(list, p)
		}
	}
	return list
}

// named returns the highest version here of a projection.
func (r *Runner) named(name string) (p Projection, err error) {
	err = fmt.Errorf("projection: no projection is named %s", name)
	for _, q := range r.ps {
		if q.Name == name && (err != nil || q.Version > p.Version) {
			p, err = q, nil
		}
	}
	return p, err
}

// version returns the consumers of a version of a projection. One that is not
// of this runner is taken to follow what the newest here does.
func (r *Runner) version(name string, version int) ([]consumer, error) {
	var list []consumer
	for _, c := range r.consumers {
		if c.Projection.Name == name && c.Projection.Version == version {
			list = append(list, c)
		}
	}
	if len(list) > 0 {
		return list, nil
	}
	p, err := r.named(name)
	if err != nil {
		return nil, err
	}
	p.Version = version
	for _, source := range slices.Compact(slices.Sorted(slices.Values(p.Sources))) {
		list = append(list, r.consumer(p, source))
	}
	return list, nil
}

// Wait returns when the newest version here of the projection includes all that
// t names of the sources it follows; other sources do not count, nor does what
// waits in a parked stream. The error is bus.ErrNotYet when that does not come
// to pass in time (Options.Wait, or the end of ctx if that is earlier).
func (r *Runner) Wait(ctx context.Context, name string, t event.Token) error {
	p, err := r.named(name)
	if err != nil {
		return err
	}
	return r.waitFor(ctx, name, p.Version, t)
}

// WaitLive is Wait for the live version, which it returns: the one to read.
func (r *Runner) WaitLive(ctx context.Context, name string, t event.Token) (version int, err error) {
	if version, err = r.Live(ctx, name); err != nil {
		return 0, err
	}
	return version, r.waitFor(ctx, name, version, t)
}

func (r *Runner) waitFor(ctx context.Context, name string, version int, t event.Token) error {
	ctx, cancel := context.WithTimeout(ctx, r.wait)
	defer cancel()
	consumers, err := r.version(name, version)
	if err != nil {
		return err
	}
	for _, c := range consumers {
		mark, ok := t.Mark(c.source)
		if !ok {
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

// Parked is a stream that a projection has set aside.
type Parked struct {
	Projection string
	Version    int
	Source     string
	bus.Parked
}

// Parked lists the streams that a projection's versions here have set aside.
func (r *Runner) Parked(ctx context.Context, name string) ([]Parked, error) {
	if _, err := r.named(name); err != nil {
		return nil, err
	}
	var all []Parked
	for _, c := range r.consumers {
		if c.Projection.Name != name {
			continue
		}
		list, err := c.Consumer.Parked(ctx)
		if err != nil {
			return nil, err
		}
		for _, p := range list {
			all = append(all, Parked{name, c.Projection.Version, c.source, p})
		}
	}
	return all, nil
}

// Retry applies the events of a parked stream in their order; when all are
// applied the stream goes on. The error is Apply's, or bus.ErrNotParked.
func (r *Runner) Retry(ctx context.Context, name string, s event.Stream) error {
	if _, err := r.named(name); err != nil {
		return err
	}
	found := false
	for _, c := range r.consumers {
		if c.Projection.Name != name {
			continue
		}
		err := c.Consumer.Retry(ctx, s)
		if err != nil && !errors.Is(err, bus.ErrNotParked) {
			return err
		}
		found = found || err == nil
	}
	if !found {
		return fmt.Errorf("projection: %s of %s: %w", s, name, bus.ErrNotParked)
	}
	return nil
}
