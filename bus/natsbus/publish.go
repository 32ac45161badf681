package natsbus

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cleave-go/cleave/bus"
)

var (
	// errFenced says that the end of the stream is not what the publisher left
	// there: somebody else wrote, or the broker lost something.
	errFenced = errors.New("natsbus: fenced")
	// errLook says that the stream's end is not where it was, while nothing was
	// sent.
	errLook = errors.New("natsbus: look again")
)

// Publish carries the records of s into its stream until ctx ends.
func (b *Bus) Publish(ctx context.Context, s bus.Source) error {
	p := &publisher{bus: b, source: s}
	defer p.note(context.WithoutCancel(ctx))
	fences := 0
	for {
		started := time.Now()
		err := p.run(ctx)
		p.bus.opts.Logger.Debug("publisher stopped", "source", p.source.Name(), "reason", err)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, errFenced):
			// Another publisher is at work, or one foreign message came. Who is
			// fenced again and again leaves the work to the other.
			if time.Since(started) > 10*time.Second {
				fences = 0
			}
			fences++
			most := min(10*time.Millisecond<<min(fences, 10), 2*time.Second)
			b.pause(ctx, most/2+rand.N(most/2))
		case errors.Is(err, errLook), errors.Is(err, errReconnected):
		default:
			return fmt.Errorf("natsbus: publish %s: %w", s.Name(), err)
		}
	}
}

// publisher is one call of Publish.
type publisher struct {
	bus    *Bus
	source bus.Source

	mu    sync.Mutex
	last  bus.Place // the last that the broker acknowledged, or was found there
	noted bus.Place
}

// end is where a stream ends: fence is its last sequence, at the last of the
// source's messages in it.
type end struct {
	stream jetstream.Stream
	fence  uint64
	at     bus.Place
}

// run looks where the stream ends and publishes from there, until something is
// in the way.
func (p *publisher) run(ctx context.Context) error {
	ctx, stop := p.bus.untilReconnect(ctx)
	defer stop()
	e, err := p.resume(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	p.acknowledged(e.at)
	p.bus.opts.Logger.Debug("publishing", "source", p.source.Name(), "behind", e.at.Position, "fence", e.fence)
	ctx, cancel := context.WithCancelCause(ctx)
	sent := make(chan inFlight, p.bus.opts.InFlight)
	var wg sync.WaitGroup
	wg.Go(func() { cancel(p.collect(ctx, e, sent)) })
	err = p.send(ctx, e, sent)
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	cancel(err)
	wg.Wait()
	return err
}

// inFlight is a message that the broker has not acknowledged yet.
type inFlight struct {
	jetstream.PubAckFuture
	at bus.Place
}

// send publishes what the source has behind e. The first message expects the
// stream's last sequence, each other one the id of the one before it.
func (p *publisher) send(ctx context.Context, e end, sent chan<- inFlight) error {
	name, prev := p.source.Name(), ""
	for r, err := range p.source.Feed(ctx, e.at.Position, true) {
		if err != nil {
			return fmt.Errorf("read the event table: %w", err)
		}
		msg, err := encode(name, e.at.Epoch, r)
		if err != nil {
			return err
		}
		fence := jetstream.WithExpectLastMsgID(prev)
		if prev == "" {
			fence = jetstream.WithExpectLastSequence(e.fence)
		}
		f, err := p.bus.js.PublishMsgAsync(msg, fence, jetstream.WithRetryAttempts(0))
		if err != nil {
			return fmt.Errorf("position %d: %w", r.Position, err)
		}
		prev = msg.Header.Get(msgID)
		select {
		case sent <- inFlight{f, bus.Place{Epoch: e.at.Epoch, Position: r.Position}}:
		case <-ctx.Done():
			return nil
		}
	}
	if ctx.Err() == nil {
		return errors.New("the feed of the event table ended")
	}
	return nil
}

// collect takes the acknowledgements in order. It returns why publishing cannot
// go on.
func (p *publisher) collect(ctx context.Context, e end, sent <-chan inFlight) error {
	idle := time.NewTicker(p.bus.opts.Check)
	defer idle.Stop()
	last, busy := e.fence, false
	for {
		select {
		case m := <-sent:
			busy = true
			select {
			case ack := <-m.Ok():
				// A repetition is one that the broker remembers: somebody else
				// sent it, and it may have been removed since.
				if ack.Duplicate {
					return errFenced
				}
				m.at.Seq, last = ack.Sequence, ack.Sequence
				p.acknowledged(m.at)
			case err := <-m.Err():
				return fmt.Errorf("position %d: %w", m.at.Position, sentence(err))
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		case <-idle.C:
			p.note(ctx)
			if busy {
				busy = false // what is sent next shows whether the end is the same
				continue
			}
			info, err := e.stream.Info(ctx)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if err != nil {
				return sentence(err)
			}
			if info.State.LastSeq != last {
				return errLook
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// sentence makes a refusal by the broker an errFenced where it is one.
func sentence(err error) error {
	var api jetstream.JetStreamError
	if errors.As(err, &api) && api.APIError() != nil {
		switch api.APIError().ErrorCode {
		case jetstream.JSErrCodeStreamWrongLastSequence, wrongLastMsgID, wrongLastSequence:
			return errFenced
		}
	}
	if errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, jetstream.ErrStreamNotFound) {
		return errFenced // the stream is gone: it is made again
	}
	return err
}

const (
	wrongLastMsgID    jetstream.ErrorCode = 10070
	wrongLastSequence jetstream.ErrorCode = 10164
)

func (p *publisher) acknowledged(at bus.Place) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = at
}

// note notes how far the source is published, if that has changed.
func (p *publisher) note(ctx context.Context) {
	n, ok := p.source.(bus.Noter)
	p.mu.Lock()
	last, noted := p.last, p.noted
	p.mu.Unlock()
	if !ok || last == noted || last.Position == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := n.NotePublished(ctx, last); err != nil {
		p.bus.opts.Logger.Debug("how far it is published was not noted", "source", p.source.Name(), "error", err)
		return
	}
	p.noted = last
}

// resume finds the end of the stream, and in it the source's last message.
func (p *publisher) resume(ctx context.Context) (end, error) {
	name := p.source.Name()
	st, err := p.bus.stream(ctx, name)
	if err != nil {
		return end{}, fmt.Errorf("stream %s: %w", streamName(name), err)
	}
	epoch, err := p.source.Epoch(ctx)
	if err != nil {
		return end{}, fmt.Errorf("epoch of the event table: %w", err)
	}
	state := st.CachedInfo().State // stream asked just now
	e := end{stream: st, fence: state.LastSeq}
	found, err := lastOf(ctx, st, name, state)
	if err != nil {
		return end{}, err
	}
	if found.Position == 0 && state.LastSeq > 0 {
		// Messages were here and went: only the source can know how far they went.
		if found, err = p.published(ctx); err != nil {
			return end{}, err
		}
	}
	e.at = bus.Place{Epoch: epoch, Position: found.Position, Seq: found.Seq}
	if found.Position == 0 {
		return e, nil
	}
	// The head is read after the message: what is on the bus was in the table.
	head, err := p.source.Head(ctx)
	switch {
	case err != nil:
		return end{}, fmt.Errorf("end of the event table: %w", err)
	case found.Epoch != epoch:
		return end{}, fmt.Errorf("stream %s holds epoch %s to position %d, the event table is epoch %s: %w",
			streamName(name), found.Epoch, found.Position, epoch, bus.ErrAhead)
	case found.Position > head:
		return end{}, fmt.Errorf("stream %s holds position %d, the event table ends at %d: %w",
			streamName(name), found.Position, head, bus.ErrAhead)
	}
	return e, nil
}

func (p *publisher) published(ctx context.Context) (bus.Place, error) {
	n, ok := p.source.(bus.Noter)
	if !ok {
		return bus.Place{}, nil
	}
	at, err := n.Published(ctx)
	if err != nil {
		return bus.Place{}, fmt.Errorf("note of how far it is published: %w", err)
	}
	return at, nil
}

// searched is how many foreign messages at a stream's end are looked through.
const searched = 1000

// lastOf returns the place of the last message of service in the stream; zero
// when there is none.
func lastOf(ctx context.Context, st jetstream.Stream, service string, state jetstream.StreamState) (bus.Place, error) {
	for seq, n := state.LastSeq, 0; seq >= max(state.FirstSeq, 1) && n < searched; seq, n = seq-1, n+1 {
		m, err := st.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return bus.Place{}, fmt.Errorf("message %d: %w", seq, err)
		}
		if at, err := place(service, m.Header, seq); err == nil {
			return at, nil
		}
	}
	return bus.Place{}, nil
}
