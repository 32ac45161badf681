package natsbus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/http"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
)

// idleCheck is how often a quiet subscriber makes sure that the message it saw
// last is still where it was.
const idleCheck = 30 * time.Second

// errEnd says that the subscriber wants no more.
var errEnd = errors.New("natsbus: subscriber left")

// errMoved says that a consumer cannot be relied on any more.
var errMoved = errors.New("natsbus: the stream or the consumer changed")

// Subscribe yields the messages of f behind after. Only a message that cannot
// be read, a filter that is refused and a closed connection are errors;
// everything else is waited for.
func (b *Bus) Subscribe(ctx context.Context, f bus.Filter, after bus.Place) iter.Seq2[bus.Message, error] {
	return func(yield func(bus.Message, error) bool) {
		s := &subscriber{bus: b, filter: f, at: after}
		for tries := 0; ; tries++ {
			before := s.at
			err := s.follow(ctx, yield)
			if ctx.Err() != nil || errors.Is(err, errEnd) {
				return
			}
			if b.conn.IsClosed() || errors.Is(err, errUnreadable) || errors.Is(err, errFilter) || errors.Is(err, bus.ErrGone) {
				yield(bus.Message{}, fmt.Errorf("natsbus: subscribe to %s: %w", f.Source, err))
				return
			}
			if s.at != before {
				tries = 0
			}
			b.opts.Logger.Debug("subscription starts again", "source", f.Source, "behind", s.at.Position, "reason", err)
			if !errors.Is(err, errMoved) && !errors.Is(err, errReconnected) || tries > 1 {
				b.pause(ctx, min(20*time.Millisecond<<min(tries, 10), time.Second))
			}
		}
	}
}

// Errors that waiting does not cure.
var (
	errUnreadable = errors.New("unreadable message")
	errFilter     = errors.New("the broker refuses the consumer; are the filter's subjects valid and disjoint?")
)

// subscriber is one iteration of Subscribe.
type subscriber struct {
	bus    *Bus
	filter bus.Filter
	at     bus.Place // of the last message
	fed    bus.Place // up to where the feed was read, whatever of it the filter let through

	first   uint64    // of the stream's sequences, as it was
	checked time.Time // then
}

// follow makes a consumer behind s.at and yields its messages until it can no
// longer be relied on.
func (s *subscriber) follow(ctx context.Context, yield func(bus.Message, error) bool) error {
	ctx, stop := s.bus.untilReconnect(ctx)
	defer stop()
	st, err := s.bus.stream(ctx, s.filter.Source)
	if err != nil {
		return err
	}
	from, err := s.fill(ctx, st, yield)
	if err != nil {
		return err
	}
	start, err := s.bus.locate(ctx, st, s.filter.Source, s.at)
	if err != nil {
		return err
	}
	c, err := st.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       start,
		AckPolicy:         jetstream.AckNonePolicy,
		FilterSubjects:    s.filter.Patterns(),
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: time.Minute,
	})
	var refused jetstream.JetStreamError
	if errors.As(err, &refused) && refused.APIError() != nil && refused.APIError().Code == http.StatusBadRequest {
		return fmt.Errorf("%w: %w", errFilter, err)
	}
	if err != nil {
		return err
	}
	defer s.drop(st, c)
	if err := s.stays(ctx, st, from); err != nil {
		return err
	}
	it, err := c.Messages(jetstream.PullMaxMessages(512), jetstream.PullExpiry(60*time.Second), jetstream.PullHeartbeat(15*time.Second))
	if err != nil {
		return err
	}
	defer it.Stop()
	return s.read(ctx, st, it, start-1, yield)
}

// drop removes the consumer, if the broker is there; it would go by itself.
func (s *subscriber) drop(st jetstream.Stream, c jetstream.Consumer) {
	if !s.bus.conn.IsConnected() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = st.DeleteConsumer(ctx, c.CachedInfo().Name)
}

// read yields what comes behind a sequence.
func (s *subscriber) read(ctx context.Context, st jetstream.Stream, it jetstream.MessagesContext, seq uint64, yield func(bus.Message, error) bool) error {
	for delivered := uint64(0); ; {
		msg, err := s.next(ctx, st, it)
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if delivered++; meta.Sequence.Consumer != delivered {
			return fmt.Errorf("%w: message %d of the consumer came as number %d", errMoved, meta.Sequence.Consumer, delivered)
		}
		m, err := decode(s.filter.Source, msg.Subject(), msg.Headers(), msg.Data(), meta.Sequence.Stream)
		if errors.Is(err, errForeign) {
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errUnreadable, err)
		}
		if err := s.missed(ctx, st, seq, m.Place); err != nil {
			return err
		}
		seq = m.Place.Seq
		if m.Place.Compare(s.at) <= 0 {
			continue
		}
		s.at = m.Place
		if !yield(m, nil) {
			return errEnd
		}
	}
}

// next waits for a message. After a while without one it makes sure that the
// last one is still in its place.
func (s *subscriber) next(ctx context.Context, st jetstream.Stream, it jetstream.MessagesContext) (jetstream.Msg, error) {
	for {
		wait, cancel := context.WithTimeout(ctx, idleCheck)
		msg, err := it.Next(jetstream.NextContext(wait))
		cancel()
		if err == nil {
			return msg, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			return nil, fmt.Errorf("%w: %w", errMoved, err)
		}
		if s.at.Seq == 0 {
			continue
		}
		if there, err := holds(ctx, st, s.filter.Source, s.at); err != nil {
			return nil, err
		} else if !there {
			return nil, errMoved
		}
	}
}

// holds reports whether the stream has at.Seq the message that at says. A
// message that the stream no longer keeps counts as there.
func holds(ctx context.Context, st jetstream.Stream, service string, at bus.Place) (bool, error) {
	m, err := st.GetMsg(ctx, at.Seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		info, err := st.Info(ctx)
		return err == nil && info.State.FirstSeq > at.Seq, err
	}
	if err != nil {
		return false, err
	}
	found, err := place(service, m.Header, at.Seq)
	return err == nil && found == at, nil
}

// locate returns the sequence at which the messages behind at begin. The
// sequence in at is right unless the stream was cut back since, or is another.
func (b *Bus) locate(ctx context.Context, st jetstream.Stream, service string, at bus.Place) (uint64, error) {
	if at.Position == 0 {
		return 1, nil
	}
	if at.Seq > 0 {
		m, err := st.GetMsg(ctx, at.Seq)
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return 0, err
		}
		if err == nil {
			if found, err := place(service, m.Header, at.Seq); err == nil && found == at {
				return at.Seq + 1, nil
			}
		}
	}
	info, err := st.Info(ctx)
	if err != nil {
		return 0, err
	}
	// Positions ascend in the stream: halve what is left until one remains.
	low, high := max(info.State.FirstSeq, 1), info.State.LastSeq+1
	for low < high {
		mid := low + (high-low)/2
		found, err := firstOf(ctx, st, service, ">", mid, high)
		if err != nil {
			return 0, err
		}
		if found.Position == 0 || found.Compare(at) > 0 {
			high = mid
		} else {
			low = found.Seq + 1
		}
	}
	return low, nil
}

// firstOf returns the place of the first message of service that matches
// subject, at or behind seq and before end; zero when there is none.
func firstOf(ctx context.Context, st jetstream.Stream, service, subject string, seq, end uint64) (bus.Place, error) {
	for n := 0; seq < end && n < searched; n++ {
		m, err := st.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return bus.Place{}, nil
		}
		if err != nil {
			return bus.Place{}, err
		}
		if at, err := place(service, m.Header, m.Sequence); err == nil && m.Sequence < end {
			return at, nil
		}
		seq = m.Sequence + 1
	}
	return bus.Place{}, nil
}

// Next implements bus.Searcher.
func (b *Bus) Next(ctx context.Context, f bus.Filter, after bus.Place, until event.Position) (event.Position, bool, error) {
	st, err := b.stream(ctx, f.Source)
	if err != nil {
		return 0, false, fmt.Errorf("natsbus: stream of %s: %w", f.Source, err)
	}
	last, _, err := lastOf(ctx, st, f.Source, st.CachedInfo().State)
	if err != nil {
		return 0, false, fmt.Errorf("natsbus: end of the stream of %s: %w", f.Source, err)
	}
	if last.Compare(bus.Place{Epoch: max(after.Epoch, last.Epoch), Position: until}) < 0 {
		return 0, false, bus.ErrNotYet
	}
	from, err := b.locate(ctx, st, f.Source, after)
	if err != nil {
		return 0, false, fmt.Errorf("natsbus: place in the stream of %s: %w", f.Source, err)
	}
	switch known, err := remembers(ctx, st, f.Source, after, from); {
	case err != nil:
		return 0, false, err
	case known:
		return b.nextOf(ctx, st, f, from, until)
	case b.opts.Feed == nil:
		return 0, false, bus.ErrNotYet
	}
	return b.nextAt(ctx, f, after, until)
}

// nextAt asks the owner, whose table has what the stream has forgotten.
func (b *Bus) nextAt(ctx context.Context, f bus.Filter, after bus.Place, until event.Position) (event.Position, bool, error) {
	for m, err := range b.opts.Feed.Read(ctx, f, after) {
		switch {
		case err != nil:
			return 0, false, fmt.Errorf("natsbus: feed of %s: %w", f.Source, err)
		case m.Place.Position > until:
			return 0, false, nil
		case m.Subject != "":
			return m.Place.Position, true, nil
		}
	}
	return 0, false, nil
}

// remembers reports whether the stream has all that came behind a place, whose
// messages begin at sequence from. What was forgotten in between may have been
// wanted.
func remembers(ctx context.Context, st jetstream.Stream, service string, after bus.Place, from uint64) (bool, error) {
	first := st.CachedInfo().State.FirstSeq
	if first <= 1 || from > first {
		return true, nil
	}
	at, err := firstOf(ctx, st, service, ">", first, math.MaxUint64)
	if err != nil {
		return false, fmt.Errorf("natsbus: beginning of the stream of %s: %w", service, err)
	}
	return at.Position == after.Position+1 || at.Epoch == after.Epoch && at.Position <= after.Position, nil
}

// Last implements bus.Searcher. When nothing is left in the stream it is not
// known.
func (b *Bus) Last(ctx context.Context, source string) (bus.Place, error) {
	st, err := b.stream(ctx, source)
	if err != nil {
		return bus.Place{}, fmt.Errorf("natsbus: stream of %s: %w", source, err)
	}
	last, _, err := lastOf(ctx, st, source, st.CachedInfo().State)
	if err != nil {
		return bus.Place{}, fmt.Errorf("natsbus: end of the stream of %s: %w", source, err)
	}
	return last, nil
}

// nextOf returns the first position of f's messages at or behind a sequence.
func (b *Bus) nextOf(ctx context.Context, st jetstream.Stream, f bus.Filter, from uint64, until event.Position) (event.Position, bool, error) {
	subjects := f.Patterns()
	if len(subjects) == 0 {
		subjects = []string{">"}
	}
	var first event.Position
	for _, subject := range subjects {
		at, err := firstOf(ctx, st, f.Source, subject, from, math.MaxUint64)
		if err != nil {
			return 0, false, fmt.Errorf("natsbus: search %s: %w", subject, err)
		}
		if at.Position > 0 && at.Position <= until && (first == 0 || at.Position < first) {
			first = at.Position
		}
	}
	return first, first > 0, nil
}
