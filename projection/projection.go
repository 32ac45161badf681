package projection

import (
	"context"
	"errors"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/sqldb"
)

// Handler applies one message to the view in tx. bus.ErrNotYet means that what
// it builds on has not arrived.
type Handler func(ctx context.Context, tx sqldb.Tx, m bus.Message) error

// Projection is a view kept by the events of some services.
type Projection struct {
	Name string
	// Version rises when the view has to be built anew: it starts at the first
	// event, into tables of its own, beside the version that is read meanwhile.
	Version int
	Sources []string // the services whose events it follows
	Apply   Handler
	// Reset empties the tables of this version, in tx; Rebuild needs it.
	// Default: none.
	Reset   func(ctx context.Context, tx sqldb.Tx) error
	OnError bus.Policy // Default: it stops at the event until Apply succeeds.
	Lanes   int        // how many events of one source are applied at the same time, see bus.Consumer. Default: 1.
}

// On adapts a typed handler. Types that the codec does not know are passed
// over: they belong to others, or to a newer version.
func On[E any](codec *event.Codec[E], f func(ctx context.Context, tx sqldb.Tx, e event.Envelope[E]) error) Handler {
	return func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
		e, err := codec.Decode(m.Record)
		if errors.Is(err, event.ErrUnknownType) {
			return nil
		}
		if err != nil {
			return err
		}
		return f(ctx, tx, e)
	}
}

// From passes only the messages of one service to h, where type names of
// several services are alike.
func From(source string, h Handler) Handler {
	return func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
		if m.Source != source {
			return nil
		}
		return h(ctx, tx, m)
	}
}

// Join passes each message to all handlers, in their order, until an error.
func Join(handlers ...Handler) Handler {
	return func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
		for _, h := range handlers {
			if err := h(ctx, tx, m); err != nil {
				return err
			}
		}
		return nil
	}
}
