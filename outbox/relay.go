package outbox

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/internal/checkpoint"
	"github.com/cleave-go/cleave/internal/eventtable"
	"github.com/cleave-go/cleave/sqldb"
)

// Options adjusts a Relay; nil means the defaults.
type Options struct {
	Logger *slog.Logger // Default: slog.Default()
}

// Relay publishes a service's event table. Several at a time, in one process or
// many, are safe.
type Relay struct {
	table *table
	bus   bus.Bus
	log   *slog.Logger
}

// NewRelay returns the relay of the table in db, under the service's name.
func NewRelay(service string, db *sqldb.DB, b bus.Bus, o *Options) *Relay {
	log := slog.Default()
	if o != nil && o.Logger != nil {
		log = o.Logger
	}
	return &Relay{table: &table{service, db}, bus: b, log: log}
}

// Run publishes until ctx ends; then it returns nil. What goes wrong is logged
// and tried again, after 50 ms to 5 s. The error is a closed database, or
// bus.ErrAhead, which an operator has to look into.
func (r *Relay) Run(ctx context.Context) error {
	const first, most = 50 * time.Millisecond, 5 * time.Second
	for wait := first; ; wait = min(2*wait, most) {
		started := time.Now()
		err := r.bus.Publish(ctx, r.table)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, bus.ErrAhead), errors.Is(err, sqldb.ErrClosed):
			return fmt.Errorf("outbox: relay of %s: %w", r.table.name, err)
		}
		if time.Since(started) > most {
			wait = first
		}
		r.log.Warn("relay was interrupted, goes on", "service", r.table.name, "after", wait, "error", err)
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil
		}
	}
}

// Source returns the event table in db as a source of messages.
func Source(service string, db *sqldb.DB) bus.Source { return &table{service, db} }

// table is the event table as a bus.Source.
type table struct {
	name string
	db   *sqldb.DB
}

var (
	_ bus.Source = (*table)(nil)
	_ bus.Noter  = (*table)(nil)
)

func (t *table) Name() string { return t.name }

func (t *table) Epochs(ctx context.Context) ([]bus.Epoch, error) {
	list, err := eventtable.Epochs(ctx, t.db)
	epochs := make([]bus.Epoch, len(list))
	for i, e := range list {
		epochs[i] = bus.Epoch(e)
	}
	return epochs, err
}

func (t *table) Head(ctx context.Context) (event.Position, error) { return eventtable.Head(ctx, t.db) }

func (t *table) Feed(ctx context.Context, after event.Position, live bool) iter.Seq2[event.Record, error] {
	return eventtable.LiveFeed(ctx, t.db, eventsource.FeedOptions{After: after, Live: live})
}

func (t *table) key() checkpoint.Key { return checkpoint.Relay(t.name) }

func (t *table) Published(ctx context.Context) (bus.Place, error) {
	at, err := checkpoint.Load(ctx, t.db, t.key())
	return bus.Place(at), err
}

func (t *table) NotePublished(ctx context.Context, p bus.Place) error {
	return t.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		now, err := checkpoint.Load(ctx, tx, t.key())
		if err != nil || bus.Place(now).Compare(p) >= 0 {
			return err
		}
		_, err = checkpoint.Save(ctx, tx, t.key(), now, checkpoint.At(p))
		return err
	})
}
