package outbox

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/internal/eventtable"
	"github.com/cleave-go/cleave/sqldb"
)

// Setup creates the event tables in db if they are not there. They are the ones
// of eventsource's sqlstore.
func Setup(ctx context.Context, db *sqldb.DB) error { return eventtable.Setup(ctx, db) }

// Add records recs at the end of stream s, in the transaction of the change they
// tell of. A record without ID gets one; metadata that it does not set comes
// from ctx (event.WithMeta). Records whose ids are there already are not written
// again: the Commit has Replayed.
func Add(ctx context.Context, tx sqldb.Tx, s event.Stream, recs ...event.Record) (eventsource.Commit, error) {
	meta := event.MetaFrom(ctx)
	recs = slices.Clone(recs)
	for i := range recs {
		if recs[i].ID.IsZero() {
			recs[i].ID = event.NewID()
		}
		recs[i].Meta = meta.Merge(recs[i].Meta)
	}
	return eventtable.Append(ctx, tx, s, eventsource.Any, recs)
}

// Once calls f unless it was called with the same consumer and id in a
// transaction that was committed. It is the inbox of consumers that get messages
// in no order; a bus.Consumer needs none. An error of f is returned and undoes,
// with tx, that it ran.
func Once(ctx context.Context, tx sqldb.Tx, consumer string, id event.ID, f func() error) (ran bool, err error) {
	res, err := tx.ExecContext(ctx, `INSERT INTO es_inbox_id (consumer, event_id, seen_at) VALUES (?, ?, ?)
		ON CONFLICT DO NOTHING`, consumer, id[:], time.Now().UnixMicro())
	if err != nil {
		return false, fmt.Errorf("outbox: inbox of %s: %w", consumer, err)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return false, fmt.Errorf("outbox: inbox of %s: %w", consumer, err)
	}
	if n == 0 {
		return false, nil
	}
	return true, f()
}

// Forget removes what Once noted before a time, for all consumers, at most 1,000
// entries, and returns how many. A message older than that would run again.
func Forget(ctx context.Context, tx sqldb.Tx, before time.Time) (int, error) {
	res, err := tx.ExecContext(ctx, `DELETE FROM es_inbox_id WHERE (consumer, event_id) IN
		(SELECT consumer, event_id FROM es_inbox_id WHERE seen_at < ? ORDER BY seen_at LIMIT 1000)`, before.UnixMicro())
	if err != nil {
		return 0, fmt.Errorf("outbox: purge the inbox: %w", err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}
