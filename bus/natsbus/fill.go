package natsbus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cleave-go/cleave/bus"
)

// fill yields from the owner's table what the stream held once, behind the
// subscriber's place, and holds no more. It returns the sequence from which on
// the stream's messages are still wanted.
func (s *subscriber) fill(ctx context.Context, st jetstream.Stream, yield func(bus.Message, error) bool) (from uint64, err error) {
	state := st.CachedInfo().State // asked just now
	s.first, s.checked = state.FirstSeq, time.Now()
	if state.FirstSeq <= 1 { // nothing was removed
		return 1, nil
	}
	if s.at.Seq+1 >= state.FirstSeq {
		if there, err := s.onward(ctx, st); err != nil || there {
			return s.at.Seq + 1, err
		}
	}
	first, err := firstOf(ctx, st, s.filter.Source, ">", state.FirstSeq, state.LastSeq+1)
	if err != nil {
		return 0, err
	}
	stands := s.at
	if stands.Compare(s.fed) < 0 {
		stands = s.fed
	}
	switch {
	case first.Position == 0 && s.fed.Seq == state.LastSeq && state.LastSeq > 0: // nothing came since it was read
		return state.LastSeq + 1, nil
	case first.Position > 0 && stands.Compare(first) >= 0:
		return state.FirstSeq, nil
	case first.Position > 0 && stands.Position+1 == first.Position && (stands.Epoch == first.Epoch || stands.Epoch == ""):
		return state.FirstSeq, nil
	}
	if s.bus.opts.Feed == nil && s.at.Position > 0 && s.at.Seq+1 == state.FirstSeq {
		return state.FirstSeq, nil // its message was the last one removed, as far as can be told
	}
	if s.bus.opts.Feed == nil {
		return 0, fmt.Errorf("%w: stream %s begins at position %d, wanted is what is behind %d", bus.ErrGone, streamName(s.filter.Source), first.Position, s.at.Position)
	}
	from = state.FirstSeq
	if first.Position == 0 {
		from = state.LastSeq + 1
	}
	return from, s.feed(ctx, first, state.LastSeq, yield)
}

// onward reports whether the stream has, at the subscriber's sequence, the
// message of its place, or had it last.
func (s *subscriber) onward(ctx context.Context, st jetstream.Stream) (bool, error) {
	if s.at.Position == 0 {
		return false, nil
	}
	m, err := st.GetMsg(ctx, s.at.Seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	found, err := place(s.filter.Source, m.Header, s.at.Seq)
	return err == nil && found == s.at, nil
}

// feed reads the owner's table up to the first message of the stream, or to the
// end, which is behind all that the stream held up to its sequence last.
func (s *subscriber) feed(ctx context.Context, first bus.Place, last uint64, yield func(bus.Message, error) bool) error {
	s.bus.opts.Logger.Info("reads from the owner's table what the bus does not hold any more", "source", s.filter.Source,
		"behind", max(s.at.Position, s.fed.Position), "until", first.Position)
	after := s.at
	if after.Compare(s.fed) < 0 {
		after = s.fed
	}
	for m, err := range s.bus.opts.Feed.Read(ctx, s.filter, bus.Place{Epoch: after.Epoch, Position: after.Position}) {
		if err != nil {
			return fmt.Errorf("feed of %s: %w", s.filter.Source, err)
		}
		if first.Position > 0 && m.Place.Compare(first) >= 0 {
			s.fed = before(first)
			return nil
		}
		s.fed = m.Place
		if m.Subject == "" || m.Place.Compare(s.at) <= 0 {
			continue
		}
		s.at = m.Place
		if !yield(m, nil) {
			return errEnd
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if first.Position > 0 { // the table ends before: it was restored, and its relay says so
		s.fed = before(first)
		return nil
	}
	s.fed.Seq = last
	return nil
}

// before is where somebody stands who has all that is before a message, and not
// the message: that may be removed from the stream before it comes.
func before(at bus.Place) bus.Place {
	return bus.Place{Epoch: at.Epoch, Position: at.Position - 1}
}

// stays reports, as errMoved, that messages from a sequence on were removed
// before there was a consumer for them.
func (s *subscriber) stays(ctx context.Context, st jetstream.Stream, from uint64) error {
	info, err := st.Info(ctx)
	if err != nil {
		return err
	}
	s.first, s.checked = info.State.FirstSeq, time.Now()
	if s.first > max(from, s.at.Seq+1) {
		return fmt.Errorf("%w: messages from sequence %d on were removed meanwhile", errMoved, from)
	}
	return nil
}

// near is how close to the stream's beginning each gap in its sequences is
// looked into, because messages may be removed meanwhile.
const near = 10_000

// missed reports, as errMoved, that messages behind a sequence may have been
// removed before the subscriber got them.
func (s *subscriber) missed(ctx context.Context, st jetstream.Stream, seq uint64, at bus.Place) error {
	contiguous := at.Seq == seq+1 || at.Position == s.at.Position+1 && at.Epoch == s.at.Epoch
	if contiguous || seq+1 > s.first+near && time.Since(s.checked) < time.Second {
		return nil
	}
	info, err := st.Info(ctx)
	if err != nil {
		return err
	}
	s.first, s.checked = info.State.FirstSeq, time.Now()
	if s.first > seq+1 && s.at.Compare(at) < 0 {
		return fmt.Errorf("%w: messages behind sequence %d were removed before they came", errMoved, seq)
	}
	return nil
}
