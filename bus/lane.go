package bus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/internal/checkpoint"
	"github.com/cleave-go/cleave/sqldb"
)

var (
	// errPlace says that the place is not where this instance left it.
	errPlace = errors.New("bus: the place was moved")
	// errLayout says that the lanes are not those that this instance works on.
	errLayout = errors.New("bus: the lanes were changed")
)

// lane is a lane of a running consumer.
type lane struct {
	c     *Consumer
	index int
	of    int
	gen   int64
	log   *slog.Logger
	shown *gauge
	wait  backoff
}

func (c *Consumer) newLane(l checkpoint.Lane, log *slog.Logger, g *gauges) *lane {
	if l.Of > 1 {
		log = log.With("lane", l.Index)
	}
	return &lane{c: c, index: l.Index, of: l.Of, gen: l.Generation, log: log, shown: g.lane(l.Index, l.Of)}
}

// run consumes until ctx ends, the layout changes or an error is final.
func (l *lane) run(ctx context.Context) error {
	defer l.shown.waiting(nil)
	for {
		err := l.follow(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case final(err), errors.Is(err, errLayout):
			return err
		case errors.Is(err, errPlace):
			l.log.Info("the place was moved by another, goes on from there")
		default:
			l.log.Warn("consumer starts again", "error", err)
			l.wait.sleep(ctx, l.c.OnError.pace())
		}
	}
}

// read returns the lane as it is in the database.
func (l *lane) read(ctx context.Context) (checkpoint.Lane, error) {
	layout, err := checkpoint.ReadLayout(ctx, l.c.DB, l.c.key())
	if err != nil {
		return checkpoint.Lane{}, fmt.Errorf("bus: place of consumer %s: %w", l.c.Name, err)
	}
	if len(layout.Lanes) != l.of || layout.Lanes[l.index].Generation != l.gen {
		return checkpoint.Lane{}, errLayout
	}
	return layout.Lanes[l.index], nil
}

// hold is read for a transaction that handles messages.
func (l *lane) hold(ctx context.Context, tx sqldb.Tx) (checkpoint.Lane, error) {
	now, err := checkpoint.Hold(ctx, tx, l.c.key(), l.index, l.of, l.gen)
	if errors.Is(err, sql.ErrNoRows) {
		return now, errLayout
	}
	if err != nil {
		return now, fmt.Errorf("bus: place of consumer %s: %w", l.c.Name, err)
	}
	return now, nil
}

// follow subscribes behind the stored place and handles what comes.
func (l *lane) follow(ctx context.Context) error {
	now, err := l.read(ctx)
	if err != nil {
		return err
	}
	at := Place(now.At)
	filter := l.c.Filter
	filter.Lane, filter.Of = l.index, l.of
	ctx, cancel := context.WithCancelCause(ctx)
	messages := make(chan Message, l.c.batch())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel(nil)
	wg.Go(func() {
		for m, err := range l.c.Bus.Subscribe(ctx, filter, at) {
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
		batch := take(ctx, messages, l.c.batch())
		if len(batch) == 0 {
			return context.Cause(ctx)
		}
		if at, err = l.handleAll(ctx, at, batch); err != nil {
			return err
		}
	}
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
// message that fails is committed; that message is tried again, or its stream
// is parked.
func (l *lane) handleAll(ctx context.Context, at Place, batch []Message) (Place, error) {
	defer l.shown.waiting(nil)
	for size := len(batch); len(batch) > 0; {
		l.shown.waiting(batch)
		reached, err := l.apply(ctx, at, batch[:size])
		var h *handleError
		switch {
		case err == nil:
			l.shown.add(ctx, size)
			at, batch = reached, batch[size:]
			size = len(batch)
			l.wait.reset()
			continue
		case ctx.Err() != nil:
			return at, context.Cause(ctx)
		case !errors.As(err, &h):
			return at, err
		case h.index > 0:
			size = h.index
			continue
		}
		if size = 1; l.wait.tries+1 < l.c.OnError.tries(h.err) {
			l.again(ctx, batch[0], h.err)
			continue
		}
		switch reached, err = l.park(ctx, at, batch[0], h.err); {
		case err != nil:
			return at, err
		case reached.Compare(batch[0].Place) < 0: // there is no room for it
			l.again(ctx, batch[0], h.err)
		default:
			at, batch = reached, batch[1:]
			size = len(batch)
			l.wait.reset()
		}
	}
	return at, nil
}

// again waits until the message is tried again.
func (l *lane) again(ctx context.Context, m Message, err error) {
	p := l.c.OnError.pace()
	if errors.Is(err, ErrNotYet) {
		p = notYet
		l.log.Debug("message has to wait", "subject", m.Subject, "position", m.Place.Position, "error", err)
	} else {
		l.shown.failed(ctx)
		l.log.Warn("message failed, is tried again", "subject", m.Subject, "stream", m.Stream.String(),
			"position", m.Place.Position, "tries", l.wait.tries+1, "error", err)
	}
	l.wait.sleep(ctx, p)
}

// handleError is the handler's error at the message of that index.
type handleError struct {
	index int
	err   error
}

func (e *handleError) Error() string { return e.err.Error() }
func (e *handleError) Unwrap() error { return e.err }

// apply handles messages in one transaction and moves the place with it. What
// another instance has handled since is left out, what belongs to a parked
// stream is kept there.
func (l *lane) apply(ctx context.Context, at Place, batch []Message) (reached Place, err error) {
	err = l.c.DB.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		now, err := l.hold(ctx, tx)
		if err != nil {
			return err
		}
		if Place(now.At).Compare(at) < 0 {
			return errPlace // set back: messages before this batch are wanted again
		}
		parked, err := l.keep(ctx, tx, now, batch)
		if err != nil {
			return err
		}
		reached = Place(now.At)
		for i, m := range batch {
			if m.Place.Compare(reached) <= 0 {
				continue
			}
			if _, kept := parked[m.Stream]; !kept && !now.Has(m.Stream, checkpoint.At(m.Place)) {
				if err := l.c.handle(ctx, tx, m); err != nil {
					return &handleError{i, err}
				}
			}
			reached = m.Place
		}
		return l.move(ctx, tx, now, reached)
	})
	return reached, err
}

// move moves the place from where it was read in this transaction.
func (l *lane) move(ctx context.Context, tx sqldb.Tx, now checkpoint.Lane, to Place) error {
	if to == Place(now.At) {
		return nil
	}
	ok, err := now.Move(ctx, tx, l.c.key(), checkpoint.At(to))
	if err == nil && !ok {
		err = errPlace
	}
	return err
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
