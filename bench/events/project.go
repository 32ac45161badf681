package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/membus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/sqldb"
)

const (
	service    = "bench"
	makeView   = `CREATE TABLE view (id TEXT PRIMARY KEY, events INTEGER NOT NULL) STRICT, WITHOUT ROWID`
	updateView = `INSERT INTO view (id, events) VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET events = events + 1`
)

func project(ctx context.Context, b *bench) ([]lane, error) {
	table, _, err := b.filled(ctx, b.records)
	if err != nil {
		return nil, err
	}
	r, err := b.rawView(ctx)
	if err != nil {
		return nil, err
	}
	view, err := b.view(ctx)
	if err != nil {
		return nil, err
	}
	version := 0
	return []lane{
		{"raw loop", counted(func(ctx context.Context) (int, error) { return b.records, r.project(ctx, b.records) })},
		{"cleave", func(ctx context.Context) (float64, error) {
			version++ // starts again at the first event
			return projected(ctx, table, view, version)
		}},
	}, nil
}

// rawView writes what a projection writes.
type rawView struct {
	*raw
	view, place *sql.Stmt
}

func (b *bench) rawView(ctx context.Context) (*rawView, error) {
	r, err := b.raw(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := r.conn.ExecContext(ctx, makeView); err != nil {
		return nil, err
	}
	v := &rawView{raw: r}
	if v.view, err = r.conn.PrepareContext(ctx, updateView); err != nil {
		return nil, err
	}
	v.place, err = r.conn.PrepareContext(ctx, `INSERT INTO es_checkpoint (name, source, epoch, position, updated_at) VALUES ('view', ?, 'epoch', ?, ?)
		ON CONFLICT (name, version, source, lane) DO UPDATE SET position = excluded.position, updated_at = excluded.updated_at`)
	return v, err
}

// batch is how many events share a transaction, as by default of bus.Consumer.
const batch = 128

func (r *rawView) project(ctx context.Context, n int) error {
	for at := 0; at < n; at += batch {
		if _, err := r.begin.ExecContext(ctx); err != nil {
			return err
		}
		for i := at; i < min(at+batch, n); i++ {
			if _, err := r.view.ExecContext(ctx, stream(i/1000).ID); err != nil {
				return err
			}
		}
		if _, err := r.place.ExecContext(ctx, service, at+batch, time.Now().UnixMicro()); err != nil {
			return err
		}
		if _, err := r.commit.ExecContext(ctx); err != nil {
			return err
		}
	}
	return nil
}

// view is an empty database with the table of the view. Both lanes use one in
// all rounds, because a write-ahead log that grows costs more than one that is
// used again.
func (b *bench) view(ctx context.Context) (*sqldb.DB, error) {
	db, _, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	return db, db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, makeView)
		return err
	})
}

// projected applies all that is in a table, through the bus in process.
func projected(ctx context.Context, table, view *sqldb.DB, version int) (float64, error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	st := sqlstore.New(table)
	head, err := st.Head(ctx)
	if err != nil {
		return 0, err
	}
	epoch, err := st.Epoch(ctx)
	if err != nil {
		return 0, err
	}
	last := make(chan struct{})
	carrier := membus.New()
	runner, err := projection.NewRunner(view, carrier, &projection.Options{Wait: time.Hour}, projection.Projection{
		Name: fmt.Sprintf("view%d", version), Sources: []string{service},
		Apply: func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
			if m.Position == head {
				close(last)
			}
			_, err := tx.ExecContext(ctx, updateView, m.Stream.ID)
			return err
		},
	})
	if err != nil {
		return 0, err
	}
	start := time.Now()
	wg.Go(func() { outbox.NewRelay(service, table, carrier, nil).Run(ctx) })
	wg.Go(func() { runner.Run(ctx) })
	select {
	case <-last:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if err := runner.Wait(ctx, fmt.Sprintf("view%d", version), event.Token{}.With(service, epoch, head)); err != nil {
		return 0, err
	}
	return float64(head) / time.Since(start).Seconds(), nil
}

// rebuilt says how long a view of many events takes.
func (b *bench) rebuilt(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	table, _, err := b.filled(ctx, b.rebuild)
	if err != nil {
		return err
	}
	view, err := b.view(ctx)
	if err != nil {
		return err
	}
	rate, err := projected(ctx, table, view, 1)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nrebuild of %d events: %.1f s (aim: 60 s for a million)\n", b.rebuild, float64(b.rebuild)/rate)
	return nil
}
