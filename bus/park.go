package bus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/internal/checkpoint"
	"github.com/cleave-go/cleave/sqldb"
)

// Policy says what a Consumer does about a message whose handler fails again
// and again. The zero value tries it for ever, and those behind it wait.
type Policy struct {
	// Park sets the message's stream aside after Tries: the message and all that
	// come in its stream are kept in the consumer's database until Retry; other
	// streams go on. A stream whose message is "not yet" for a second or two is
	// set aside too, and resumed by itself, so that two sources that wait for
	// each other cannot stand still.
	Park       bool
	Tries      int           // of a message before its stream is parked. Default: 8.
	Backoff    time.Duration // the first pause between tries; it doubles. Default: 50 ms.
	MaxBackoff time.Duration // Default: 5 s.
	// MaxKept is how many messages are kept, over all parked streams of the
	// consumer in one source. Beyond it the consumer stands still, as without
	// Park, until streams are resumed. Default: 10,000.
	MaxKept int
}

// How long a stream waits for another source before it is set aside: 12 tries
// take about 1.5 s.
const triesNotYet = 12

// tries returns how often a message that failed so is tried.
func (p Policy) tries(err error) int {
	switch {
	case !p.Park, errors.Is(err, errFull):
		return math.MaxInt
	case errors.Is(err, ErrNotYet):
		return triesNotYet
	case p.Tries <= 0:
		return 8
	}
	return p.Tries
}

func (p Policy) pace() pace {
	if p.Backoff <= 0 {
		p.Backoff = 50 * time.Millisecond
	}
	if p.MaxBackoff <= 0 {
		p.MaxBackoff = 5 * time.Second
	}
	return pace{p.Backoff, p.MaxBackoff}
}

func (p Policy) maxKept() int {
	if p.MaxKept <= 0 {
		return 10_000
	}
	return p.MaxKept
}

// How soon a stream that waits for another source is resumed by itself.
const (
	dueFirst = time.Second
	dueMost  = time.Minute
	dueCheck = 250 * time.Millisecond
)

// Parked is a stream that a Consumer has set aside.
type Parked struct {
	Stream event.Stream
	Place  Place // of the message that it cannot pass
	Kept   int   // messages that wait, with that one
	Tries  int
	Error  string // of the last try
	Since  time.Time
	Due    time.Time // when it is resumed by itself: it waits for another source
}

var (
	// ErrNotParked says that the stream is not set aside, any more or at all.
	ErrNotParked = errors.New("bus: the stream is not parked")
	errFull      = errors.New("bus: so many messages of parked streams are kept that no more may be; resume them")
)

// Parked lists the streams that are set aside, the longest parked first, at
// most 1,000. Any Consumer value with the same name can ask.
func (c *Consumer) Parked(ctx context.Context) ([]Parked, error) {
	rows, err := checkpoint.ListParked(ctx, c.DB, c.key(), time.Time{}, 1000)
	if err != nil {
		return nil, fmt.Errorf("bus: parked streams of consumer %s: %w", c.Name, err)
	}
	list := make([]Parked, len(rows))
	for i, p := range rows {
		list[i] = Parked{p.Stream, Place(p.At), p.Kept, p.Tries, p.Error, p.Since, p.Due}
	}
	return list, nil
}

// Retry handles the messages of a parked stream in their order. When all are
// done the stream goes on as before. An error of the handler is returned: what
// came before that message is committed, the rest stays parked. The error is
// ErrNotParked when there is nothing to resume. It may run beside Run, also of
// other processes.
func (c *Consumer) Retry(ctx context.Context, s event.Stream) error {
	if err := c.check(); err != nil {
		return err
	}
	for {
		done, err := c.resume(ctx, s)
		if err != nil {
			return fmt.Errorf("bus: resume %s of consumer %s: %w", s, c.Name, err)
		}
		if done {
			return nil
		}
	}
}

// resume handles the first messages of a parked stream in one transaction, and
// reports whether they were the last.
func (c *Consumer) resume(ctx context.Context, s event.Stream) (done bool, err error) {
	var failed error
	err = c.DB.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		failed, done = nil, false
		tries, err := checkpoint.HoldParked(ctx, tx, c.key(), s, 0, 1)
		if errors.Is(err, sql.ErrNoRows) {
			err = ErrNotParked
		}
		if err != nil {
			return err
		}
		list, err := checkpoint.ListKept(ctx, tx, c.key(), s, c.batch())
		if err != nil {
			return err
		}
		handled := 0
		for _, k := range list {
			m := Message{Subject: k.Subject, Source: c.Filter.Source, Place: Place(k.At), Record: k.Record}
			failed = sqldb.Savepoint(ctx, tx, func(ctx context.Context) error { return c.handle(ctx, tx, m) })
			if failed != nil {
				failed = fmt.Errorf("message at position %d: %w", m.Place.Position, failed)
				p := checkpoint.Parked{Stream: s, At: k.At, Error: clip(failed.Error())}
				if errors.Is(failed, ErrNotYet) {
					p.Due = time.Now().Add(min(dueFirst<<min(tries, 6), dueMost))
				}
				if err := checkpoint.NoteParked(ctx, tx, c.key(), p); err != nil {
					return err
				}
				break
			}
			if err := checkpoint.DropKept(ctx, tx, c.key(), k); err != nil {
				return err
			}
			handled++
		}
		if done = failed == nil && len(list) < c.batch(); done {
			return checkpoint.Unpark(ctx, tx, c.key(), s)
		}
		_, err = checkpoint.HoldParked(ctx, tx, c.key(), s, -handled, 0)
		return err
	})
	return done, errors.Join(err, failed)
}

// resumeDue resumes streams that wait for other sources, until ctx ends.
func (c *Consumer) resumeDue(ctx context.Context, log *slog.Logger) {
	tick := time.NewTicker(dueCheck)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		due, err := checkpoint.ListParked(ctx, c.DB, c.key(), time.Now(), 16)
		for _, p := range due {
			if err = c.Retry(ctx, p.Stream); err == nil {
				log.Info("stream goes on", "stream", p.Stream.String())
			} else if ctx.Err() == nil && !errors.Is(err, ErrNotYet) && !errors.Is(err, ErrNotParked) {
				log.Warn("stream stays parked", "stream", p.Stream.String(), "error", err)
			}
		}
		if err != nil && len(due) == 0 && ctx.Err() == nil {
			log.Warn("parked streams cannot be read", "error", err)
		}
	}
}

// park sets the stream of m aside behind what was done, in a transaction with
// the place, and returns the place behind m.
func (l *lane) park(ctx context.Context, at Place, m Message, why error) (reached Place, err error) {
	parked := false
	err = l.c.DB.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		parked = false
		now, err := l.hold(ctx, tx)
		if err != nil {
			return err
		}
		if Place(now.At).Compare(at) < 0 {
			return errPlace
		}
		if reached = Place(now.At); m.Place.Compare(reached) <= 0 {
			return nil // another instance came past it
		}
		kept, err := checkpoint.ParkedStreams(ctx, tx, l.c.key())
		if err != nil {
			return err
		}
		if _, there := kept[m.Stream]; there || total(kept) >= l.c.OnError.maxKept() {
			return nil // then it is kept, or cannot be, like any other message
		}
		p := checkpoint.Parked{Stream: m.Stream, At: checkpoint.At(m.Place), Error: clip(why.Error()), Since: time.Now(), Tries: l.wait.tries + 1}
		if errors.Is(why, ErrNotYet) {
			p.Tries, p.Due = 0, time.Now().Add(dueFirst)
		}
		if err := checkpoint.Park(ctx, tx, l.c.key(), p); err != nil {
			return err
		}
		if err := l.keepOne(ctx, tx, m); err != nil {
			return err
		}
		parked, reached = true, m.Place
		return l.move(ctx, tx, now, reached)
	})
	if err != nil {
		return at, err
	}
	if parked {
		l.shown.failed(ctx)
		l.log.Error("stream is parked", "stream", m.Stream.String(), "subject", m.Subject, "position", m.Place.Position, "error", why)
	}
	return reached, nil
}

func (l *lane) keepOne(ctx context.Context, tx sqldb.Tx, m Message) error {
	_, err := checkpoint.HoldParked(ctx, tx, l.c.key(), m.Stream, 1, 0)
	if errors.Is(err, sql.ErrNoRows) {
		return errPlace // it was resumed meanwhile: handle the batch again
	}
	if err != nil {
		return err
	}
	return checkpoint.Keep(ctx, tx, l.c.key(), checkpoint.Kept{Subject: m.Subject, At: checkpoint.At(m.Place), Record: m.Record})
}

// keep keeps the messages of parked streams in batch, and returns those
// streams. It comes before the first effect, so that who resumes a stream and
// who keeps a message of it lock in the same order.
func (l *lane) keep(ctx context.Context, tx sqldb.Tx, now checkpoint.Lane, batch []Message) (map[event.Stream]int, error) {
	parked, err := checkpoint.ParkedStreams(ctx, tx, l.c.key())
	l.shown.parked(len(parked))
	if err != nil || len(parked) == 0 {
		return nil, err
	}
	all := total(parked)
	for i, m := range batch {
		if _, there := parked[m.Stream]; !there || now.Has(m.Stream, checkpoint.At(m.Place)) {
			continue
		}
		if all >= l.c.OnError.maxKept() {
			return nil, &handleError{i, errFull}
		}
		if err := l.keepOne(ctx, tx, m); err != nil {
			return nil, err
		}
		all++
	}
	return parked, nil
}

func total(kept map[event.Stream]int) (n int) {
	for _, k := range kept {
		n += k
	}
	return n
}

// clip makes an error's text one that every database takes.
func clip(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s[:min(len(s), 2000)], ""), "\x00", "")
}
