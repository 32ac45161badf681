package natsbus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
)

// resume finds the end of the stream, and in it the source's last message.
func (p *publisher) resume(ctx context.Context) (end, error) {
	name := p.source.Name()
	st, err := p.bus.stream(ctx, name)
	if err != nil {
		return end{}, fmt.Errorf("stream %s: %w", streamName(name), err)
	}
	epochs, err := p.source.Epochs(ctx)
	if err != nil {
		return end{}, fmt.Errorf("epochs of the event table: %w", err)
	}
	state := st.CachedInfo().State // stream asked just now
	e := end{stream: st, fence: state.LastSeq, epochs: epochs}
	found, id, err := lastOf(ctx, st, name, state)
	if err != nil {
		return end{}, err
	}
	if found.Position == 0 && state.LastSeq > 0 {
		// Messages were here and went: only the source can know how far they went.
		if found, err = p.published(ctx); err != nil {
			return end{}, err
		}
	}
	at, known := bus.Enter(epochs, found)
	if !known {
		return end{}, fmt.Errorf("stream %s holds epoch %s to position %d, which the event table of epoch %s does not know: %w",
			streamName(name), found.Epoch, found.Position, epochs[len(epochs)-1].Name, bus.ErrAhead)
	}
	e.at = bus.Place{Epoch: at.Epoch, Position: at.Position, Seq: found.Seq}
	if found.Position == 0 || at.Position != found.Position || at.Epoch != found.Epoch {
		return e, p.forget(ctx, st, state, epochs) // nothing was published of what the table goes on with
	}
	return e, p.ahead(ctx, found, id)
}

// forget removes from the end of the stream what the table has lost: messages of
// an epoch beyond its end. Who had them goes on behind that end; who comes later,
// or builds a view anew, is not to take them for what happened.
func (p *publisher) forget(ctx context.Context, st jetstream.Stream, state jetstream.StreamState, epochs []bus.Epoch) error {
	removed := 0
	for seq := state.LastSeq; seq >= max(state.FirstSeq, 1); seq-- {
		m, err := st.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("message %d: %w", seq, err)
		}
		at, err := place(p.source.Name(), m.Header, seq)
		if err != nil {
			continue // somebody else's
		}
		if bus.EpochAt(epochs, at.Position) == at.Epoch {
			break
		}
		if err := st.DeleteMsg(ctx, seq); err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return fmt.Errorf("remove message %d: %w", seq, err)
		}
		removed++
	}
	if removed > 0 {
		p.bus.opts.Logger.Warn("messages that the event table has lost are removed", "source", p.source.Name(), "messages", removed)
	}
	return nil
}

// ahead says what is wrong when the stream's last message is not of the table.
func (p *publisher) ahead(ctx context.Context, found bus.Place, id string) error {
	// The head is read after the message: what is on the bus was in the table.
	head, err := p.source.Head(ctx)
	if err != nil {
		return fmt.Errorf("end of the event table: %w", err)
	}
	if found.Position > head {
		return fmt.Errorf("stream %s holds position %d, the event table ends at %d: %w", streamName(p.source.Name()), found.Position, head, bus.ErrAhead)
	}
	if id == "" {
		return nil
	}
	return p.same(ctx, found.Position, id)
}

// same reports bus.ErrAhead if another event than the one published has the
// position: a table restored from an older copy has grown since.
func (p *publisher) same(ctx context.Context, at event.Position, id string) error {
	for r, err := range p.source.Feed(ctx, at-1, false) {
		switch {
		case err != nil:
			return fmt.Errorf("read the event table: %w", err)
		case r.Position == at && r.ID.String() != id:
			return fmt.Errorf("stream %s holds event %s at position %d, the event table %s: %w",
				streamName(p.source.Name()), id, at, r.ID, bus.ErrAhead)
		}
		break // a record that was purged cannot be compared
	}
	return nil
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

// searched is how many messages that are not the service's are looked through,
// one after the other.
const searched = 100_000

// lastOf returns the place of the last message of service in the stream and the
// id of its event; zero when there is none.
func lastOf(ctx context.Context, st jetstream.Stream, service string, state jetstream.StreamState) (at bus.Place, id string, err error) {
	for seq, n := state.LastSeq, 0; seq >= max(state.FirstSeq, 1); seq, n = seq-1, n+1 {
		if n == searched {
			return at, "", fmt.Errorf("the last %d messages of the stream are not of %s; remove them, then it is published again", n, service)
		}
		m, err := st.GetMsg(ctx, seq)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return at, "", fmt.Errorf("message %d: %w", seq, err)
		}
		if at, err := place(service, m.Header, seq); err == nil {
			return at, m.Header.Get("ce-id"), nil
		}
	}
	return at, "", nil
}
