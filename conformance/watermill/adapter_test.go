package watermill_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/sqldb"
)

// service is whose table the messages are in. A topic is a stream of it.
const service = "watermill"

// uuid is where a message's UUID is among its metadata.
const uuid = "watermilluuid"

// publisher adds messages to the outbox: when Publish returns they are committed.
type publisher struct{ db *sqldb.DB }

func (p publisher) Publish(topic string, messages ...*message.Message) error {
	return p.db.Update(context.Background(), func(ctx context.Context, tx sqldb.Tx) error {
		for part := range slices.Chunk(messages, eventsource.MaxAppend) {
			var recs []event.Record
			for _, m := range part {
				ext := map[string]string{uuid: m.UUID}
				maps.Copy(ext, m.Metadata)
				recs = append(recs, event.Record{
					ID:   event.DeriveID(topic+"/"+m.UUID, 0), // the suite uses one UUID in several topics
					Type: "message", Schema: 1, Data: []byte(m.Payload), Meta: event.Meta{Ext: ext},
				})
			}
			if _, err := outbox.Add(ctx, tx, event.Stream{Category: topic, ID: "1"}, recs...); err != nil {
				return err
			}
		}
		return nil
	})
}

func (publisher) Close() error { return nil }

// subscriber hands messages on one at a time, and the same again until it is
// acknowledged.
type subscriber struct {
	bus    bus.Bus
	group  *sqldb.DB // where a consumer group keeps its place; nil: from the beginning each time
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func newSubscriber(b bus.Bus, group *sqldb.DB) *subscriber {
	s := &subscriber{bus: b, group: group}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *subscriber) Close() error {
	s.cancel()
	s.wg.Wait()
	return nil
}

func (s *subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.ctx, cancel)
	out := make(chan *message.Message)
	filter := bus.Filter{Source: service, Subjects: []string{"evt." + service + "." + topic + ".>"}}
	run := func() error {
		for m, err := range s.bus.Subscribe(ctx, filter, bus.Place{}) {
			for err == nil {
				if err = deliver(ctx, out, m); !errors.Is(err, errNack) {
					break
				}
				err = nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	if s.group != nil {
		c := bus.Consumer{Name: topic, DB: s.group, Bus: s.bus, Filter: filter, Batch: 1,
			Handle: func(_ context.Context, _ sqldb.Tx, m bus.Message) error { return deliver(ctx, out, m) }}
		run = func() error { return c.Run(ctx) }
	}
	s.wg.Go(func() {
		defer close(out)
		defer stop()
		defer cancel()
		if err := run(); err != nil && ctx.Err() == nil {
			slog.Error("a subscriber ended", "topic", topic, "error", err)
		}
	})
	return out, nil
}

var errNack = errors.New("not acknowledged")

// deliver hands a message on and waits for its acknowledgement.
func deliver(ctx context.Context, out chan<- *message.Message, m bus.Message) error {
	msg := message.NewMessage(m.Meta.Ext[uuid], []byte(m.Data))
	maps.Copy(msg.Metadata, m.Meta.Ext)
	delete(msg.Metadata, uuid)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	msg.SetContext(ctx)
	select {
	case out <- msg:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-msg.Acked():
		return nil
	case <-msg.Nacked():
		return errNack
	case <-ctx.Done():
		return ctx.Err()
	}
}
