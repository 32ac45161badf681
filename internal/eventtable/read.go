package eventtable

import (
	"context"
	"iter"
	"math"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/sqldb"
)

// A page, what is read in one statement before any of it is handed on, ends at
// the first of these. No reader keeps a snapshot while its consumer works, so
// the write-ahead log can be cleared.
const (
	pageRecords = 1024
	pageBytes   = 4 << 20
)

const columns = `event_id, category, stream_id, version, position, type, schema, recorded_at, meta, data`

// Head returns the highest position.
func Head(ctx context.Context, q sqldb.Queryer) (event.Position, error) {
	var p int64
	err := q.QueryRowContext(ctx, `SELECT coalesce(max(position), 0) FROM es_event`).Scan(&p)
	return event.Position(p), err
}

// Epoch returns the name of this incarnation of the table.
func Epoch(ctx context.Context, q sqldb.Queryer) (string, error) {
	var epoch string
	err := q.QueryRowContext(ctx, `SELECT epoch FROM es_meta`).Scan(&epoch)
	return epoch, err
}

// Read yields the records of a stream.
func Read(ctx context.Context, q sqldb.Queryer, s event.Stream, o eventsource.ReadOptions) iter.Seq2[event.Record, error] {
	return pages(o.Limit, func() func(limit int) ([]event.Record, error) {
		next := max(o.From, 1)
		var recs []event.Record
		return func(limit int) (_ []event.Record, err error) {
			recs, err = query(ctx, q, recs, `SELECT `+columns+` FROM es_event
			WHERE tenant = '' AND category = ? AND stream_id = ? AND version >=
				(SELECT CASE WHEN truncate_before > ? THEN truncate_before ELSE ? END FROM es_stream WHERE tenant = '' AND category = ? AND id = ?)
			ORDER BY version LIMIT ?`,
				s.Category, s.ID, clamp(next), clamp(next), s.Category, s.ID, limit)
			if len(recs) > 0 {
				next = recs[len(recs)-1].Version + 1
			}
			return recs, err
		}
	}, nil)
}

// clamp makes a position or version what a database can hold.
func clamp(n uint64) int64 { return int64(min(n, math.MaxInt64)) }

// pages yields page after page until one is empty and wait is nil, or limit
// records (0: any number) have come. begin is called for each loop. A page may
// use the memory of the one before it.
func pages(limit int, begin func() func(limit int) ([]event.Record, error), wait func() error) iter.Seq2[event.Record, error] {
	return func(yield func(event.Record, error) bool) {
		page, left := begin(), limit
		for {
			size := pageRecords
			if limit > 0 {
				size = min(size, left)
			}
			recs, err := page(size)
			if err == nil && len(recs) == 0 {
				if wait == nil {
					return
				}
				err = wait()
			}
			if err != nil {
				yield(event.Record{}, err)
				return
			}
			for i := range recs {
				if !yield(recs[i], nil) {
					return
				}
			}
			if left -= len(recs); limit > 0 && left <= 0 {
				return
			}
		}
	}
}
