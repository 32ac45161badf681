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
	epochs []bus.Epoch // of the table
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
	prefix := ingest(name)
	for r, err := range p.source.Feed(ctx, e.at.Position, true) {
		if err != nil {
			return fmt.Errorf("read the event table: %w", err)
		}
		at := bus.Place{Epoch: bus.EpochAt(e.epochs, r.Position), Position: r.Position}
		msg, err := encode(prefix, name, at.Epoch, r)
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
		case sent <- inFlight{f, at}:
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
			seq, err := p.await(ctx, m)
			if err != nil {
				p.drain(ctx, m, sent)
				return err
			}
			last = seq
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
			select {
			case m := <-sent:
				p.drain(ctx, m, sent)
			default:
			}
			return context.Cause(ctx)
		}
	}
}

// await waits until the broker has stored m, and returns at which sequence.
func (p *publisher) await(ctx context.Context, m inFlight) (uint64, error) {
	select {
	case ack := <-m.Ok():
		// A repetition is one that the broker remembers: somebody else sent it,
		// and it may have been removed since.
		if ack.Duplicate {
			return 0, errFenced
		}
		m.at.Seq = ack.Sequence
		p.acknowledged(m.at)
		return ack.Sequence, nil
	case err := <-m.Err():
		return 0, fmt.Errorf("position %d: %w", m.at.Position, sentence(err))
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// drain gives the broker a moment, at the end of Publish, for what it has not
// acknowledged, so that what is noted is what was published.
func (p *publisher) drain(ctx context.Context, m inFlight, sent <-chan inFlight) {
	if !errors.Is(context.Cause(ctx), context.Canceled) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 500*time.Millisecond)
	defer cancel()
	for {
		if _, err := p.await(ctx, m); err != nil {
			return
		}
		select {
		case m = <-sent:
		default:
			return
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
