package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/internal/checkpoint"
	"github.com/cleave-go/cleave/sqldb"
)

// Consumer gives every message of a source to a handler, once, in order. It
// keeps its place in its own database (the tables are made by outbox.Setup), in
// the transaction of the handler's effect. Set the required fields, then call
// Run; do not change it afterwards. Several instances, in one process or many,
// may run on one database.
type Consumer struct {
	Name   string    // with Version and the source the name of its place. Required.
	DB     *sqldb.DB // of the effect and the place. Required.
	Bus    Bus       // Required.
	Filter Filter    // Source is required; Lane and Of are not for use here.
	// Handle does what the message asks for, in tx. The context carries the
	// metadata of what is recorded because of it. An error undoes what Handle
	// did and it is called again with the same message, after a while; what
	// comes of that is OnError's to say. ErrNotYet asks for it soon and without
	// a log. A panic is an error. Required.
	Handle func(ctx context.Context, tx sqldb.Tx, m Message) error

	Version int // of a view that is built anew beside the old one. Default: 0.
	// Lanes is how many parts of the source are handled at the same time, each
	// with a place of its own; the messages of one stream are in one lane and
	// keep their order. It pays where Handle waits and the database takes several
	// writers. It may change from one Run to the next: no message takes effect
	// twice. At most event.Lanes. Default: 1.
	Lanes   int
	Batch   int          // messages that are there already and share a transaction, at most. Default: 128.
	OnError Policy       // Default: a message is tried for ever, and those behind it wait.
	Logger  *slog.Logger // Default: slog.Default()
}

func (c *Consumer) check() error {
	switch {
	case c.Name == "":
		return errors.New("bus: a Consumer needs a Name")
	case c.DB == nil || c.Bus == nil || c.Handle == nil:
		return fmt.Errorf("bus: consumer %s needs DB, Bus and Handle", c.Name)
	case c.Filter.Source == "":
		return fmt.Errorf("bus: consumer %s needs a source in its Filter", c.Name)
	case c.Lanes < 0 || c.Lanes > event.Lanes:
		return fmt.Errorf("bus: consumer %s has %d lanes, at most %d are possible", c.Name, c.Lanes, event.Lanes)
	}
	return nil
}

func (c *Consumer) logger() *slog.Logger {
	log := c.Logger
	if log == nil {
		log = slog.Default()
	}
	return log.With("consumer", c.Name, "source", c.Filter.Source)
}

func (c *Consumer) key() checkpoint.Key {
	return checkpoint.Key{Name: c.Name, Version: c.Version, Source: c.Filter.Source}
}

func (c *Consumer) batch() int {
	if c.Batch <= 0 {
		return 128
	}
	return c.Batch
}

// Place returns where the consumer stands: everything up to there has its
// effect, or waits in a stream that is parked. Any Consumer value with the same
// name can ask.
func (c *Consumer) Place(ctx context.Context) (Place, error) {
	layout, err := c.layout(ctx)
	return Place(layout.Low()), err
}

// Places returns where each lane stands.
func (c *Consumer) Places(ctx context.Context) ([]Place, error) {
	layout, err := c.layout(ctx)
	places := make([]Place, len(layout.Lanes))
	for i, l := range layout.Lanes {
		places[i] = Place(l.At)
	}
	return places, err
}

func (c *Consumer) layout(ctx context.Context) (checkpoint.Layout, error) {
	layout, err := checkpoint.ReadLayout(ctx, c.DB, c.key())
	if err != nil {
		return layout, fmt.Errorf("bus: place of consumer %s: %w", c.Name, err)
	}
	return layout, nil
}

// ErrRetired says that the consumer's version was retired.
var ErrRetired = checkpoint.ErrRetired

// Run consumes until ctx ends; then it returns nil. The error is a Consumer that
// cannot run, a closed database, ErrAhead or ErrRetired; everything else is
// tried again.
func (c *Consumer) Run(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	g, stop := c.gauges()
	defer stop()
	log := c.logger()
	var wait backoff
	for lanes := max(c.Lanes, 1); ; {
		layout, err := c.open(ctx, lanes)
		if err == nil {
			if lanes > 0 && len(layout.Lanes) != lanes {
				log.Info("another has chosen the number of lanes", "lanes", len(layout.Lanes))
			}
			lanes = 0 // from now on whoever starts last decides
			wait.reset()
			err = c.runLanes(ctx, layout, log, g)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case final(err):
			return fmt.Errorf("bus: consumer %s: %w", c.Name, err)
		case errors.Is(err, errLayout):
		default:
			log.Warn("consumer starts again", "error", err)
			wait.sleep(ctx, c.OnError.pace())
		}
	}
}

// final reports whether an error ends a consumer.
func final(err error) bool {
	return errors.Is(err, sqldb.ErrClosed) || errors.Is(err, ErrAhead) || errors.Is(err, ErrRetired)
}

// open returns the lanes as they are in the database, after having made them so
// many; 0 leaves them.
func (c *Consumer) open(ctx context.Context, lanes int) (layout checkpoint.Layout, err error) {
	layout, err = c.layout(ctx)
	if err != nil || len(layout.Lanes) > 0 && (lanes == 0 || lanes == len(layout.Lanes)) {
		return layout, err
	}
	err = c.DB.Update(ctx, func(ctx context.Context, tx sqldb.Tx) (err error) {
		layout, err = checkpoint.Open(ctx, tx, c.key(), lanes)
		return err
	})
	return layout, err
}

// runLanes runs all lanes until the first error of one.
func (c *Consumer) runLanes(ctx context.Context, layout checkpoint.Layout, log *slog.Logger, g *gauges) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, l := range layout.Lanes {
		wg.Go(func() { cancel(c.newLane(l, log, g).run(ctx)) })
	}
	wg.Go(func() { cancel(c.watch(ctx, layout)) })
	if c.OnError.Park {
		wg.Go(func() { c.resumeDue(ctx, log) })
	}
	wg.Wait()
	return context.Cause(ctx)
}

// watchLanes is how often an idle consumer looks whether its lanes are still
// those that it works on. One that works notices at once.
const watchLanes = 500 * time.Millisecond

// watch returns when ctx ends or the lanes are others.
func (c *Consumer) watch(ctx context.Context, now checkpoint.Layout) error {
	tick := time.NewTicker(watchLanes)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		layout, err := c.layout(ctx)
		if err != nil && !final(err) {
			continue // the lanes say so when they need it
		}
		if err != nil {
			return err
		}
		if !layout.Same(now) {
			return errLayout
		}
	}
}

// pace is how a wait grows from try to try.
type pace struct{ first, most time.Duration }

var notYet = pace{5 * time.Millisecond, 250 * time.Millisecond}

type backoff struct{ tries int }

func (b *backoff) reset() { b.tries = 0 }

func (b *backoff) sleep(ctx context.Context, p pace) {
	t := time.NewTimer(min(p.first<<min(b.tries, 16), p.most))
	defer t.Stop()
	b.tries++
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
