package eventtable

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/sqldb"
)

// On PostgreSQL an append is one statement. It takes the lock of the stream's
// row before it draws positions, so that they ascend in the stream, and draws
// none if the stream is not as expected. It reads no index that other appends
// write to, so that SERIALIZABLE transactions do not thwart each other with it.
const (
	appendStream = `WITH s AS (
		INSERT INTO es_stream AS st (category, id, version)
		SELECT category, id, n FROM (SELECT ?::text AS category, ?::text AS id, ?::bigint AS n, ?::bigint AS expected) a
		WHERE (expected IN (0, -1) OR EXISTS (SELECT FROM es_stream e WHERE e.tenant = '' AND e.category = a.category AND e.id = a.id))`
	// A record that is there already is found before a position is drawn, or, when
	// it came at the same time, fails the statement.
	unlessThere    = ` AND NOT EXISTS (SELECT FROM es_event x WHERE x.event_id = ANY(?))`
	appendStreamTo = ` ON CONFLICT (tenant, category, id) DO UPDATE SET version = st.version + excluded.version
		WHERE st.archived_at IS NULL AND CASE ?::bigint WHEN -1 THEN true WHEN -2 THEN st.version > 0 ELSE st.version = ? END
		RETURNING category, id, version),
	e AS (
		INSERT INTO es_event (event_id, category, stream_id, version, type, schema, data, meta, recorded_at)
		SELECT r.event_id, s.category, s.id, s.version - ? + r.nth, r.type, r.schema, r.data, r.meta, ?
		FROM s, unnest(?::bytea[], ?::text[], ?::bigint[], ?::bytea[], ?::text[]) WITH ORDINALITY AS r(event_id, type, schema, data, meta, nth)
		ORDER BY r.nth`
	// In a transaction, which a failed statement would end, such a record is left
	// out, and the rest taken back.
	leaveOut     = ` ON CONFLICT (event_id) DO NOTHING`
	appendResult = ` RETURNING position)
	SELECT (SELECT version FROM s), (SELECT count(*) FROM e), (SELECT max(position) FROM e)`
)

// columnsOf are records as the arrays of one statement.
type columnsOf struct {
	ids, datas   [][]byte
	types, metas []string
	schemas      []int64
}

func (c *columnsOf) add(recs []event.Record) error {
	for i, r := range recs {
		meta, err := json.Marshal(r.Meta)
		if err != nil {
			return fmt.Errorf("record %d of %d: %w", i+1, len(recs), err)
		}
		data := []byte(r.Data)
		if data == nil {
			data = []byte{}
		}
		c.ids = append(c.ids, r.ID[:])
		c.types = append(c.types, r.Type)
		c.schemas = append(c.schemas, int64(r.Schema))
		c.datas = append(c.datas, data)
		c.metas = append(c.metas, string(meta))
	}
	return nil
}

// expected is x as a number: a version, or -1 for any, -2 for one that exists.
func expected(x eventsource.Expect) int64 {
	if version, ok := x.Exact(); ok {
		return clamp(version)
	}
	if x == eventsource.Exists {
		return -2
	}
	return -1
}

func arguments(s event.Stream, x eventsource.Expect, recs []event.Record, alone bool) ([]any, error) {
	var c columnsOf
	err := c.add(recs)
	n, want := int64(len(recs)), expected(x)
	args := []any{s.Category, s.ID, n, want}
	if alone {
		args = append(args, c.ids)
	}
	return append(args, want, want, n, time.Now().UnixMicro(), c.ids, c.types, c.schemas, c.datas, c.metas), err
}

// outcome is what an append's statement answers.
type outcome struct {
	version, position *int64 // nil: the stream was not as expected; no record was written
	written           int
}

func (o *outcome) commit(s event.Stream) eventsource.Commit {
	return eventsource.Commit{Stream: s, Version: uint64(*o.version), Position: event.Position(*o.position)}
}

// appendInTx appends in a transaction that goes on.
func appendInTx(ctx context.Context, tx sqldb.Tx, s event.Stream, x eventsource.Expect, recs []event.Record) (eventsource.Commit, error) {
	args, err := arguments(s, x, recs, false)
	if err != nil {
		return eventsource.Commit{}, err
	}
	for try := 0; ; try++ {
		var o outcome
		err := tx.QueryRowContext(ctx, appendStream+appendStreamTo+leaveOut+appendResult, args...).Scan(&o.version, &o.written, &o.position)
		switch {
		case err != nil:
			return eventsource.Commit{}, err
		case o.written == len(recs):
			return o.commit(s), nil
		case o.version != nil:
			if err := takeBack(ctx, tx, s, *o.version, len(recs)); err != nil {
				return eventsource.Commit{}, err
			}
		}
		if c, _, err := explain(ctx, tx, s, x, recs); !errors.Is(err, errAgain) || try == maxTries {
			return c, err
		}
	}
}

// takeBack undoes an append that left records out because they were there.
func takeBack(ctx context.Context, tx sqldb.Tx, s event.Stream, version int64, n int) error {
	before := version - int64(n)
	_, err1 := tx.ExecContext(ctx, `DELETE FROM es_event WHERE tenant = '' AND category = ? AND stream_id = ? AND version > ?`, s.Category, s.ID, before)
	_, err2 := tx.ExecContext(ctx, `UPDATE es_stream SET version = ? WHERE tenant = '' AND category = ? AND id = ?`, before, s.Category, s.ID)
	if err := errors.Join(err1, err2); err != nil || before > 0 {
		return err
	}
	_, err := tx.ExecContext(ctx, `DELETE FROM es_stream WHERE tenant = '' AND category = ? AND id = ?`, s.Category, s.ID)
	return err
}

// maxTries bounds how often an append is tried again because what was in its way
// is not there any more.
const maxTries = 10

// appendAlone appends in a transaction of its own. tried says that it was tried
// and something was in the way.
func appendAlone(ctx context.Context, db *sqldb.DB, s event.Stream, x eventsource.Expect, recs []event.Record, tried bool) (eventsource.Commit, error) {
	args, err := arguments(s, x, recs, true)
	if err != nil {
		return eventsource.Commit{}, err
	}
	for try := 0; ; try++ {
		if tried {
			if c, _, err := explain(ctx, db, s, x, recs); !errors.Is(err, errAgain) || try == maxTries {
				return c, err
			}
		}
		var o outcome
		err := db.Write(ctx, appendStream+unlessThere+appendStreamTo+appendResult, args, func(rows *sql.Rows) error {
			return rows.Scan(&o.version, &o.written, &o.position)
		})
		switch {
		case err == nil && o.version != nil:
			return o.commit(s), nil
		case err != nil && !inTheWay(err):
			return eventsource.Commit{}, err
		}
		tried = true
	}
}

// inTheWay reports whether a statement failed because of what others have
// written: a record with its id, a seal where it drew a position, a deadlock.
func inTheWay(err error) bool {
	switch sqlState(err) {
	case "23505", "40P01", "40001":
		return true
	}
	return false
}

func sqlState(err error) string {
	var coded interface{ SQLState() string }
	if errors.As(err, &coded) {
		return coded.SQLState()
	}
	return ""
}
