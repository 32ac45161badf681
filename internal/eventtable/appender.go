package eventtable

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/sqldb"
)

// What callers append at the same time is done by one statement, as much of it
// as this, on so many connections.
const (
	batchAppends = 128
	batchRecords = 1024
	batchers     = 2
	batchTimeout = 30 * time.Second
)

// Appender appends in transactions of its own to a database of PostgreSQL, where
// it makes one statement of what several callers append to different streams.
// Each append succeeds or fails alone. Whoever finds fewer than so many at work
// becomes one of them, until its own append is done.
type Appender struct {
	db *sqldb.DB

	mu      sync.Mutex
	working int
	queue   []*waiting
}

// waiting is an append in the queue or in somebody's batch.
type waiting struct {
	stream event.Stream
	expect eventsource.Expect
	recs   []event.Record

	taken bool          // out of the queue; Appender.mu guards it
	wake  chan struct{} // closed when done or made to lead
	done  bool          // set before wake is closed, or by the leader itself
	c     eventsource.Commit
	err   error
}

// NewAppender returns the appender of db.
func NewAppender(db *sqldb.DB) *Appender { return &Appender{db: db} }

// Append does what eventsource.Store promises.
func (a *Appender) Append(ctx context.Context, s event.Stream, x eventsource.Expect, recs []event.Record) (eventsource.Commit, error) {
	if err := ctx.Err(); err != nil {
		return eventsource.Commit{}, err
	}
	if err := eventsource.CheckAppend(s, recs); err != nil {
		return eventsource.Commit{}, err
	}
	if a.db.Updating(ctx) {
		return eventsource.Commit{}, sentence(s, sqldb.ErrNested)
	}
	w := &waiting{stream: s, expect: x, recs: recs, wake: make(chan struct{})}
	if a.enter(w) {
		a.work(ctx, w)
		return w.answer()
	}
	select {
	case <-w.wake:
	case <-ctx.Done():
		if a.leave(w) {
			return eventsource.Commit{}, ctx.Err()
		}
		<-w.wake
	}
	if !w.done {
		a.work(ctx, w)
	}
	return w.answer()
}

func (w *waiting) answer() (eventsource.Commit, error) {
	return w.c, sentence(w.stream, w.err)
}

// sentence adds what was tried to an error that does not say it.
func sentence(s event.Stream, err error) error {
	var archived *eventsource.ArchivedError
	if err == nil || errors.Is(err, eventsource.ErrConflict) || errors.As(err, &archived) {
		return err
	}
	return fmt.Errorf("eventsource: append to %s: %w", s, err)
}

// enter reports whether the caller works now; otherwise it is in the queue.
func (a *Appender) enter(w *waiting) (works bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.working < batchers {
		a.working++
		w.taken = true
		return true
	}
	a.queue = append(a.queue, w)
	return false
}

// leave takes w out of the queue, if it is there.
func (a *Appender) leave(w *waiting) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w.taken {
		return false
	}
	a.queue = slices.DeleteFunc(a.queue, func(other *waiting) bool { return other == w })
	return true
}

// work does w and what waits beside it, and passes the work on.
func (a *Appender) work(ctx context.Context, w *waiting) {
	defer a.passOn()
	batch := a.fill(w)
	if len(batch) == 1 {
		w.c, w.err = appendAlone(ctx, a.db, w.stream, w.expect, w.recs, false)
		w.done = true
		return
	}
	// The caller's context is not the others'.
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	a.together(ctx, batch)
	for _, b := range batch {
		b.done = true
		if b != w {
			close(b.wake)
		}
	}
}

func (a *Appender) passOn() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.queue) == 0 {
		a.working--
		return
	}
	next := a.queue[0]
	a.queue = slices.Delete(a.queue, 0, 1)
	next.taken = true
	close(next.wake)
}

// fill returns w and those that wait and go well beside it: one append for each
// stream, ordered by streams, so that two batches take locks in the same order.
func (a *Appender) fill(w *waiting) []*waiting {
	a.mu.Lock()
	defer a.mu.Unlock()
	batch := []*waiting{w}
	streams, records := map[event.Stream]bool{w.stream: true}, len(w.recs)
	a.queue = slices.DeleteFunc(a.queue, func(o *waiting) bool {
		if streams[o.stream] || len(batch) == batchAppends || records+len(o.recs) > batchRecords {
			return false
		}
		streams[o.stream] = true
		records += len(o.recs)
		o.taken = true
		batch = append(batch, o)
		return true
	})
	slices.SortFunc(batch, func(x, y *waiting) int {
		return cmp.Or(cmp.Compare(x.stream.Category, y.stream.Category), cmp.Compare(x.stream.ID, y.stream.ID))
	})
	return batch
}

const appendMany = `WITH a AS MATERIALIZED (
		SELECT * FROM unnest(?::text[], ?::text[], ?::bigint[], ?::bigint[]) WITH ORDINALITY AS a(category, id, n, expected, nth)),
	s AS (
		INSERT INTO es_stream AS st (category, id, version)
		SELECT category, id, n FROM a
		WHERE (expected IN (0, -1) OR EXISTS (SELECT FROM es_stream e WHERE e.tenant = '' AND e.category = a.category AND e.id = a.id))
			AND NOT EXISTS (SELECT FROM es_event x WHERE x.event_id = ANY(?))
		ORDER BY nth
		ON CONFLICT (tenant, category, id) DO UPDATE SET version = st.version + excluded.version
		WHERE st.archived_at IS NULL AND (SELECT CASE a.expected WHEN -1 THEN true WHEN -2 THEN st.version > 0 ELSE st.version = a.expected END
			FROM a WHERE a.category = excluded.category AND a.id = excluded.id)
		RETURNING category, id, version),
	done AS MATERIALIZED (SELECT a.nth, a.n, s.category, s.id, s.version FROM s JOIN a ON a.category = s.category AND a.id = s.id),
	e AS (
		INSERT INTO es_event (event_id, category, stream_id, version, type, schema, data, meta, recorded_at)
		SELECT r.event_id, done.category, done.id, done.version - done.n + r.at, r.type, r.schema, r.data, r.meta, ?
		FROM unnest(?::bigint[], ?::bigint[], ?::bytea[], ?::text[], ?::bigint[], ?::bytea[], ?::text[])
			WITH ORDINALITY AS r(nth, at, event_id, type, schema, data, meta, row) JOIN done ON done.nth = r.nth
		ORDER BY r.row
		RETURNING category, stream_id, position)
	SELECT done.nth, done.version, max(e.position) FROM done JOIN e ON e.category = done.category AND e.stream_id = done.id
	GROUP BY done.nth, done.version`

// together does a batch in one statement, and alone what that did not do.
func (a *Appender) together(ctx context.Context, batch []*waiting) {
	args, err := manyArguments(batch)
	written := make([]bool, len(batch))
	if err == nil {
		err = a.db.Write(ctx, appendMany, args, func(rows *sql.Rows) error {
			var nth int
			var c eventsource.Commit
			if err := rows.Scan(&nth, &c.Version, &c.Position); err != nil {
				return err
			}
			c.Stream = batch[nth-1].stream
			batch[nth-1].c, written[nth-1] = c, true
			return nil
		})
	}
	for i, w := range batch {
		switch {
		case err == nil && written[i]:
		case err == nil || sqlState(err) != "": // this one was not done, or none was
			w.c, w.err = appendAlone(ctx, a.db, w.stream, w.expect, w.recs, err == nil)
		default:
			w.c, w.err = eventsource.Commit{}, err
		}
	}
}

func manyArguments(batch []*waiting) ([]any, error) {
	var categories, ids []string
	var counts, expects, nths, ats []int64
	var c columnsOf
	for i, w := range batch {
		categories, ids = append(categories, w.stream.Category), append(ids, w.stream.ID)
		counts, expects = append(counts, int64(len(w.recs))), append(expects, expected(w.expect))
		if err := c.add(w.recs); err != nil {
			return nil, err
		}
		for at := range w.recs {
			nths, ats = append(nths, int64(i+1)), append(ats, int64(at+1))
		}
	}
	return []any{categories, ids, counts, expects, c.ids, time.Now().UnixMicro(), nths, ats, c.ids, c.types, c.schemas, c.datas, c.metas}, nil
}
