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

// On PostgreSQL an append is one statement: it changes the stream's row, if that
// is as expected, and so holds its lock, and then draws positions. So they ascend
// in the stream, and a conflict draws none. It is put together for what is asked:
// the server plans it each time, and one for all cases takes five times as long.
const (
	moveStream = `WITH s AS (UPDATE es_stream SET version = version + ? WHERE tenant = '' AND category = ? AND id = ? AND archived_at IS NULL`
	newStream  = `WITH s AS (INSERT INTO es_stream (category, id, version) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`
	anyStream  = `WITH s AS (INSERT INTO es_stream AS st (category, id, version) SELECT ?::text, ?::text, ?::bigint`
	orMove     = ` ON CONFLICT (tenant, category, id) DO UPDATE SET version = st.version + excluded.version WHERE st.archived_at IS NULL`
	// A record that is there already is found before a position is drawn. In a
	// transaction this would make it read what others write.
	unlessThere = ` NOT EXISTS (SELECT FROM es_event x WHERE x.event_id = ANY(?))`

	intoEvents = ` RETURNING version) INSERT INTO es_event (event_id, category, stream_id, version, type, schema, data, meta, recorded_at) `
	oneEvent   = `SELECT ?::bytea, ?::text, ?::text, s.version, ?::text, ?::bigint, ?::bytea, ?::text, ?::bigint FROM s`
	manyEvents = `SELECT r.event_id, ?::text, ?::text, s.version - ? + r.nth, r.type, r.schema, r.data, r.meta, ?::bigint
		FROM s, unnest(?::bytea[], ?::text[], ?::bigint[], ?::bytea[], ?::text[]) WITH ORDINALITY AS r(event_id, type, schema, data, meta, nth) ORDER BY r.nth`
	// In a transaction, which a failed statement would end, a record that is there
	// is left out, and the rest taken back.
	leaveOut = ` ON CONFLICT (event_id) DO NOTHING`
	whatCame = ` RETURNING version, position`
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

// statement puts an append together; alone, it is a transaction.
func statement(s event.Stream, x eventsource.Expect, recs []event.Record, alone bool) (text string, args []any, err error) {
	var c columnsOf
	if err := c.add(recs); err != nil {
		return "", nil, err
	}
	n := int64(len(recs))
	check := func(word string) {
		if alone {
			text, args = text+word+unlessThere, append(args, c.ids)
		}
	}
	switch want := expected(x); want {
	case 0:
		text, args = newStream, []any{s.Category, s.ID, n}
	case -1:
		text, args = anyStream, []any{s.Category, s.ID, n}
		check(" WHERE")
		text += orMove
	case -2:
		text, args = moveStream+` AND version > 0`, []any{n, s.Category, s.ID}
		check(" AND")
	default:
		text, args = moveStream+` AND version = ?`, []any{n, s.Category, s.ID, want}
	}
	text += intoEvents
	if now := time.Now().UnixMicro(); n == 1 {
		text, args = text+oneEvent, append(args, c.ids[0], s.Category, s.ID, c.types[0], c.schemas[0], c.datas[0], c.metas[0], now)
	} else {
		text, args = text+manyEvents, append(args, s.Category, s.ID, n, now, c.ids, c.types, c.schemas, c.datas, c.metas)
	}
	if !alone {
		text += leaveOut
	}
	return text + whatCame, args, nil
}

// appendInTx appends in a transaction that goes on.
func appendInTx(ctx context.Context, tx sqldb.Tx, s event.Stream, x eventsource.Expect, recs []event.Record) (eventsource.Commit, error) {
	text, args, err := statement(s, x, recs, false)
	if err != nil {
		return eventsource.Commit{}, err
	}
	for try := 0; ; try++ {
		c, written := eventsource.Commit{Stream: s}, 0
		rows, err := tx.QueryContext(ctx, text, args...)
		if err != nil {
			return eventsource.Commit{}, err
		}
		for rows.Next() && err == nil {
			err = rows.Scan(&c.Version, &c.Position)
			written++
		}
		if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
			return eventsource.Commit{}, err
		}
		if written == len(recs) {
			return c, nil
		}
		if err := takeBack(ctx, tx, s, len(recs), written); err != nil {
			return eventsource.Commit{}, err
		}
		if c, _, err := explain(ctx, tx, s, x, recs); !errors.Is(err, errAgain) || try == maxTries {
			return c, err
		}
	}
}

// takeBack undoes an append of n records that left some out because they were
// there, if it was not the stream that was in its way.
func takeBack(ctx context.Context, tx sqldb.Tx, s event.Stream, n, written int) error {
	var version, last int64
	err := tx.QueryRowContext(ctx, `SELECT version, (SELECT coalesce(max(version), 0) FROM es_event WHERE tenant = '' AND category = ? AND stream_id = ?)
		FROM es_stream WHERE tenant = '' AND category = ? AND id = ?`, s.Category, s.ID, s.Category, s.ID).Scan(&version, &last)
	if errors.Is(err, sql.ErrNoRows) || err == nil && written == 0 && version == last {
		return nil
	}
	if err != nil {
		return err
	}
	before := version - int64(n)
	_, err1 := tx.ExecContext(ctx, `DELETE FROM es_event WHERE tenant = '' AND category = ? AND stream_id = ? AND version > ?`, s.Category, s.ID, before)
	_, err2 := tx.ExecContext(ctx, `UPDATE es_stream SET version = ? WHERE tenant = '' AND category = ? AND id = ?`, before, s.Category, s.ID)
	if err := errors.Join(err1, err2); err != nil || before > 0 {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM es_stream WHERE tenant = '' AND category = ? AND id = ?`, s.Category, s.ID)
	return err
}

// maxTries bounds how often an append is tried again because what was in its way
// is not there any more.
const maxTries = 10

// appendAlone appends in a transaction of its own. tried says that it was tried
// and something was in the way.
func appendAlone(ctx context.Context, db *sqldb.DB, s event.Stream, x eventsource.Expect, recs []event.Record, tried bool) (eventsource.Commit, error) {
	text, args, err := statement(s, x, recs, true)
	if err != nil {
		return eventsource.Commit{}, err
	}
	for try := 0; ; try++ {
		if tried {
			if c, _, err := explain(ctx, db, s, x, recs); !errors.Is(err, errAgain) || try == maxTries {
				return c, err
			}
		}
		c := eventsource.Commit{Stream: s}
		err := db.Write(ctx, text, args, func(rows *sql.Rows) error { return rows.Scan(&c.Version, &c.Position) })
		switch {
		case err == nil && c.Version > 0:
			return c, nil
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
