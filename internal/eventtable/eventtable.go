package eventtable

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/sqldb"
)

//go:embed *.sql
var scripts embed.FS

// Setup creates the tables if they are not there.
func Setup(ctx context.Context, db *sqldb.DB) error {
	if err := db.Migrate(ctx, scripts); err != nil || db.Dialect() != sqldb.PostgreSQL {
		return err
	}
	var cache int64
	err := db.QueryRowContext(ctx, `SELECT seqcache FROM pg_sequence WHERE seqrelid = 'es_position'::regclass`).Scan(&cache)
	if err == nil && cache != 1 {
		err = fmt.Errorf("eventsource: the sequence es_position has CACHE %d: it must be 1, or feeds pass over events that come late", cache)
	}
	return err
}

// Append does in tx what eventsource.Store promises.
func Append(ctx context.Context, tx sqldb.Tx, s event.Stream, x eventsource.Expect, recs []event.Record) (eventsource.Commit, error) {
	if err := eventsource.CheckAppend(s, recs); err != nil {
		return eventsource.Commit{}, err
	}
	c, err := appendRecords(ctx, tx, s, x, recs)
	return c, sentence(s, err)
}

func appendRecords(ctx context.Context, tx sqldb.Tx, s event.Stream, x eventsource.Expect, recs []event.Record) (eventsource.Commit, error) {
	if sqldb.DialectOf(tx) == sqldb.PostgreSQL {
		return appendInTx(ctx, tx, s, x, recs)
	}
	c, version, err := explain(ctx, tx, s, x, recs)
	if !errors.Is(err, errAgain) {
		return c, err
	}
	last := uint64(version.V)
	// From here on only the disk can fail, and then the transaction is lost.
	c = eventsource.Commit{Stream: s, Version: last + uint64(len(recs))}
	now := time.Now().UnixMicro()
	for i, r := range recs {
		last++
		if c.Position, err = insert(ctx, tx, s, last, now, r); err != nil {
			return eventsource.Commit{}, fmt.Errorf("record %d of %d: %w", i+1, len(recs), err)
		}
	}
	if version.Valid {
		_, err = tx.ExecContext(ctx, `UPDATE es_stream SET version = ? WHERE tenant = '' AND category = ? AND id = ?`, last, s.Category, s.ID)
	} else {
		_, err = tx.ExecContext(ctx, `INSERT INTO es_stream (version, category, id) VALUES (?, ?, ?)`, last, s.Category, s.ID)
	}
	return c, err
}

// explain answers an append that something is in the way of. Otherwise the error
// is errAgain, and version is the stream's if there is one.
func explain(ctx context.Context, q sqldb.Queryer, s event.Stream, x eventsource.Expect, recs []event.Record) (
	c eventsource.Commit, version sql.Null[int64], err error) {
	var taken sql.Null[int64]
	err = q.QueryRowContext(ctx, `SELECT
		(SELECT CASE WHEN archived_at IS NULL THEN version ELSE -archived_at END FROM es_stream WHERE tenant = '' AND category = ? AND id = ?),
		(SELECT position FROM es_event WHERE event_id = ?)`, s.Category, s.ID, recs[0].ID[:]).Scan(&version, &taken)
	last := uint64(version.V)
	switch {
	case err != nil:
	case taken.Valid:
		c, err = replay(ctx, q, s, recs)
	case version.V < 0:
		err = &eventsource.ArchivedError{Stream: s, Since: time.UnixMicro(-version.V).UTC()}
	case !x.Match(last):
		err = &eventsource.ConflictError{Stream: s, Expected: x, Actual: last}
	default:
		if err = checkNew(ctx, q, recs[1:]); err == nil {
			err = errAgain
		}
	}
	return c, version, err
}

// errAgain says that nothing is in the way of an append any more.
var errAgain = errors.New("others were in the way of each try")

func insert(ctx context.Context, tx sqldb.Tx, s event.Stream, version uint64, now int64, r event.Record) (event.Position, error) {
	meta, err := json.Marshal(r.Meta)
	if err != nil {
		return 0, err
	}
	data := []byte(r.Data)
	if data == nil {
		data = []byte{}
	}
	res, err := tx.ExecContext(ctx, `INSERT INTO es_event (event_id, category, stream_id, version, type, schema, data, meta, recorded_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, r.ID[:], s.Category, s.ID, int64(version), r.Type, r.Schema, data, string(meta), now)
	if err != nil {
		return 0, err
	}
	position, err := res.LastInsertId()
	return event.Position(position), err
}

// checkNew reports the first of recs that is recorded already.
func checkNew(ctx context.Context, q sqldb.Queryer, recs []event.Record) error {
	for _, r := range recs {
		var position int64
		err := q.QueryRowContext(ctx, `SELECT position FROM es_event WHERE event_id = ?`, r.ID[:]).Scan(&position)
		if err == nil {
			return duplicate(r.ID, position)
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	return nil
}

func duplicate(id event.ID, position int64) error {
	return fmt.Errorf("%w: %s at position %d", eventsource.ErrDuplicate, id, position)
}

// replay answers an append whose first record is there.
func replay(ctx context.Context, q sqldb.Queryer, s event.Stream, recs []event.Record) (eventsource.Commit, error) {
	c := eventsource.Commit{Stream: s, Replayed: true}
	for _, r := range recs {
		var position, version int64
		var found event.Stream
		err := q.QueryRowContext(ctx, `SELECT position, category, stream_id, version FROM es_event WHERE event_id = ?`, r.ID[:]).
			Scan(&position, &found.Category, &found.ID, &version)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return eventsource.Commit{}, fmt.Errorf("%w: %s, but not %s", eventsource.ErrDuplicate, recs[0].ID, r.ID)
		case err != nil:
			return eventsource.Commit{}, err
		case found != s || c.Version != 0 && uint64(version) != c.Version+1:
			return eventsource.Commit{}, duplicate(r.ID, position)
		}
		c.Version, c.Position = uint64(version), event.Position(position)
	}
	return c, nil
}
