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
	epoch, err := p.source.Epoch(ctx)
	if err != nil {
		return end{}, fmt.Errorf("epoch of the event table: %w", err)
	}
	state := st.CachedInfo().State // stream asked just now
	e := end{stream: st, fence: state.LastSeq}
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
	case id != "":
		if err := p.same(ctx, found.Position, id); err != nil {
			return end{}, err
		}
	}
	return e, nil
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
