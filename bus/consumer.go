package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
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
	Filter Filter    // Source is required.
	// Handle does what the message asks for, in tx. The context carries the
	// metadata of what is recorded because of it. An error undoes what Handle
	// did and it is called again with the same message, after a while, for
	// ever; ErrNotYet asks for that soon and without a log. A panic is an
	// error. Required.
	Handle func(ctx context.Context, tx sqldb.Tx, m Message) error

	Version int          // of a view that is built anew beside the old one. Default: 0.
	Batch   int          // messages that are there already and share a transaction, at most. Default: 128.
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

// Place returns where the consumer stands: everything up to there has its
// effect. Any Consumer value with the same name can ask.
func (c *Consumer) Place(ctx context.Context) (Place, error) {
	return c.place(ctx, c.DB)
}

func (c *Consumer) place(ctx context.Context, q sqldb.Queryer) (Place, error) {
	at, err := checkpoint.Load(ctx, q, c.key())
	if err != nil {
		return Place{}, fmt.Errorf("bus: place of consumer %s: %w", c.Name, err)
	}
	return Place(at), nil
}

// Run consumes until ctx ends; then it returns nil. The error is a Consumer that
// cannot run, a closed database or ErrAhead; everything else is tried again.
func (c *Consumer) Run(ctx context.Context) error {
	if err := c.check(); err != nil {
		return err
	}
	g, stop := c.gauges()
	defer stop()
	log := c.logger()
	var wait backoff
	for {
		err := c.follow(ctx, log, g, &wait)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, sqldb.ErrClosed), errors.Is(err, ErrAhead):
			return fmt.Errorf("bus: consumer %s: %w", c.Name, err)
		case errors.Is(err, errPlace):
			log.Info("the place was moved by another, goes on from there")
		default:
			log.Warn("consumer starts again", "error", err)
			wait.sleep(ctx, failing)
		}
	}
}

// errPlace says that the place is not where this instance left it.
var errPlace = errors.New("bus: the place was moved")

// follow subscribes behind the stored place and handles what comes.
func (c *Consumer) follow(ctx context.Context, log *slog.Logger, g *gauges, wait *backoff) error {
	at, err := c.Place(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	messages := make(chan Message, c.batch())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	wg.Go(func() {
		for m, err := range c.Bus.Subscribe(ctx, c.Filter, at) {
			if err != nil {
				cancel(err)
				return
			}
			select {
			case messages <- m:
			case <-ctx.Done():
				return
			}
		}
		cancel(errors.New("bus: the subscription ended"))
	})
	for {
		batch := take(ctx, messages, c.batch())
		if len(batch) == 0 {
			return context.Cause(ctx)
		}
		if at, err = c.handleAll(ctx, log, g, wait, at, batch); err != nil {
			return err
		}
	}
}

func (c *Consumer) batch() int {
	if c.Batch <= 0 {
		return 128
	}
	return c.Batch
}

// take waits for a message and returns it with those that are there already.
func take(ctx context.Context, messages <-chan Message, most int) []Message {
	select {
	case m := <-messages:
		batch := []Message{m}
		for len(batch) < most {
			select {
			case m := <-messages:
				batch = append(batch, m)
			default:
				return batch
			}
		}
		return batch
	case <-ctx.Done():
		return nil
	}
}

// handleAll handles a batch and returns the place behind it. What comes before a
// message that fails is committed; that message is tried again.
func (c *Consumer) handleAll(ctx context.Context, log *slog.Logger, g *gauges, wait *backoff, at Place, batch []Message) (Place, error) {
	defer g.waiting(nil)
	for size := len(batch); len(batch) > 0; {
		g.waiting(batch)
		reached, err := c.apply(ctx, at, batch[:size])
		var h *handleError
		switch {
		case err == nil:
			g.add(ctx, size)
			at, batch = reached, batch[size:]
			size = len(batch)
			wait.reset()
			continue
		case ctx.Err() != nil:
			return at, context.Cause(ctx)
		case !errors.As(err, &h):
			return at, err
		case h.index > 0:
			size = h.index
			continue
		}
		m := batch[0]
		pace := failing
		if errors.Is(h.err, ErrNotYet) {
			pace = notYet
			log.Debug("message has to wait", "subject", m.Subject, "position", m.Place.Position, "error", h.err)
		} else {
			g.failed(ctx)
			log.Warn("message failed, is tried again", "subject", m.Subject, "stream", m.Stream.String(),
				"position", m.Place.Position, "tries", wait.tries+1, "error", h.err)
		}
		wait.sleep(ctx, pace)
		size = 1
	}
	return at, nil
}

// handleError is the handler's error at the message of that index.
type handleError struct {
	index int
	err   error
}

func (e *handleError) Error() string { return e.err.Error() }
func (e *handleError) Unwrap() error { return e.err }

// apply handles messages in one transaction and moves the place with it. What
// another instance has handled since is left out.
func (c *Consumer) apply(ctx context.Context, at Place, batch []Message) (reached Place, err error) {
	err = c.DB.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		now, err := c.place(ctx, tx)
		if err != nil {
			return err
		}
		if now.Compare(at) < 0 {
			return errPlace // set back: messages before this batch are wanted again
		}
		reached = now
		for i, m := range batch {
			if m.Place.Compare(reached) <= 0 {
				continue
			}
			if err := c.handle(ctx, tx, m); err != nil {
				return &handleError{i, err}
			}
			reached = m.Place
		}
		if reached == now {
			return nil
		}
		ok, err := checkpoint.Save(ctx, tx, c.key(), checkpoint.At(now), checkpoint.At(reached))
		if err == nil && !ok {
			err = errPlace
		}
		return err
	})
	return reached, err
}

func (c *Consumer) handle(ctx context.Context, tx sqldb.Tx, m Message) (err error) {
	meta := event.Follows(m.Record)
	if t, ok := c.telemetry(); ok {
		inner, end := t.within(ctx, c.Name, m, &meta)
		if ctx = inner; end != nil {
			defer func() { end(err) }()
		}
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("bus: the handler panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return c.Handle(event.WithMeta(ctx, meta), tx, m)
}

// pace is how a wait grows from try to try.
type pace struct{ first, most time.Duration }

var (
	failing = pace{50 * time.Millisecond, 5 * time.Second}
	notYet  = pace{5 * time.Millisecond, 250 * time.Millisecond}
)

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
