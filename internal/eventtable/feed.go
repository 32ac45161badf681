package eventtable

import (
	"context"
	"iter"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/sqldb"
)

// gap is the category of a row that keeps a position from being used.
const gap = "$gap"

// Feed yields the records of all streams behind o.After. Inside a transaction of
// PostgreSQL it passes over positions that others may use yet.
func Feed(ctx context.Context, q sqldb.Queryer, o eventsource.FeedOptions) iter.Seq2[event.Record, error] {
	return pages(o.Limit, func() func(int) ([]event.Record, error) {
		return (&walk{ctx: ctx, q: q, after: o.After}).page
	}, nil)
}

// LiveFeed is Feed over a whole database; live, it waits for commits. It passes
// over no position that may be used yet.
func LiveFeed(ctx context.Context, db *sqldb.DB, o eventsource.FeedOptions) iter.Seq2[event.Record, error] {
	var seal *sealer
	if db.Dialect() == sqldb.PostgreSQL {
		seal = &sealer{db: db}
	}
	begin := func() func(int) ([]event.Record, error) {
		return (&walk{ctx: ctx, q: db, after: o.After, sealer: seal}).page
	}
	if !o.Live {
		return pages(o.Limit, begin, nil)
	}
	return func(yield func(event.Record, error) bool) {
		var seen uint64 // before the first page: one page more, nothing missed
		wait := func() (err error) {
			seen, err = db.AwaitCommit(ctx, seen)
			return err
		}
		pages(o.Limit, begin, wait)(yield)
	}
}

// walk goes through the positions of the table, one page of records at a time.
type walk struct {
	ctx    context.Context
	q      sqldb.Queryer
	after  event.Position
	sealer *sealer // nil: positions without a row are passed over
	recs   []event.Record
}

// page returns the next records, none at the head of the table. Each try is one
// statement, so that its rows are of one moment.
func (f *walk) page(limit int) ([]event.Record, error) {
	for {
		recs, err := query(f.ctx, f.q, f.recs, `SELECT `+columns+` FROM es_event WHERE position > ? ORDER BY position LIMIT ?`,
			clamp(uint64(f.after)), limit)
		if err != nil || len(recs) == 0 {
			f.recs = nil // it may be long until the next
			return nil, err
		}
		f.recs = recs
		whole := recs
		if f.sealer != nil {
			whole = contiguous(f.after, recs)
		}
		if len(whole) == 0 {
			// What was in the hole comes with the next try.
			if err := f.sealer.seal(f.ctx, f.after+1, recs[0].Position-1); err != nil {
				return nil, err
			}
			continue
		}
		f.after = whole[len(whole)-1].Position
		if kept := events(whole); len(kept) > 0 {
			return kept, nil
		}
	}
}

// contiguous returns the records up to the first hole.
func contiguous(after event.Position, recs []event.Record) []event.Record {
	for i := range recs {
		if recs[i].Position != after+1+event.Position(i) {
			return recs[:i]
		}
	}
	return recs
}

// events leaves out what stands for an event and is none.
func events(recs []event.Record) []event.Record {
	stands := func(r *event.Record) bool { return r.Type == purged || r.Stream.Category == gap }
	n := 0
	for i := range recs {
		if stands(&recs[i]) {
			continue
		}
		if n < i {
			recs[n] = recs[i]
		}
		n++
	}
	return recs[:n]
}
