package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver that postgres: URLs name

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/sqldb"
)

// onPostgres are run with -postgres, an empty database.
var onPostgres = []section{
	{"PostgreSQL: append, one caller", 1 / 1.3, func(ctx context.Context, b *bench) ([]lane, error) { return postgresAppends(ctx, b, 1) }},
	{"PostgreSQL: append, 64 callers", 2, func(ctx context.Context, b *bench) ([]lane, error) { return postgresAppends(ctx, b, many) }},
	{"PostgreSQL: feed", 0.8, postgresFeed},
}

// rawAppend is one transaction in one statement, prepared.
const rawAppend = `WITH s AS (INSERT INTO es_stream (version, category, id) VALUES ($4, $2, $3)
	ON CONFLICT (tenant, category, id) DO UPDATE SET version = excluded.version)
	INSERT INTO es_event (event_id, category, stream_id, version, type, schema, data, meta, recorded_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`

func (b *bench) postgres(ctx context.Context) (*sqldb.DB, *sql.DB, error) {
	db, err := sqldb.Open(ctx, b.url, nil)
	if err != nil {
		return nil, nil, err
	}
	context.AfterFunc(ctx, func() { db.Close() })
	if err := sqlstore.Setup(ctx, db); err != nil {
		return nil, nil, err
	}
	raw, err := sql.Open("pgx", b.url)
	if err != nil {
		return nil, nil, err
	}
	context.AfterFunc(ctx, func() { raw.Close() })
	raw.SetMaxIdleConns(many)
	raw.SetMaxOpenConns(many)
	return db, raw, nil
}

// streams returns new streams by number.
func streams() func(n int) event.Stream {
	run := event.NewID()
	return func(n int) event.Stream { return event.Stream{Category: "order", ID: fmt.Sprintf("%s-%d", run, n)} }
}

func postgresAppends(ctx context.Context, b *bench, n int) ([]lane, error) {
	db, raw, err := b.postgres(ctx)
	if err != nil {
		return nil, err
	}
	st := sqlstore.New(db)
	insert, err := raw.PrepareContext(ctx, rawAppend)
	if err != nil {
		return nil, err
	}
	ours, theirs, single := streams(), streams(), streams()
	var rawVersions, singleVersions, versions [many]uint64
	return []lane{
		{"raw, a transaction each", callers(b.round, n, func(ctx context.Context, i int) error {
			rawVersions[i]++
			return inTransaction(ctx, raw, theirs(i), int64(rawVersions[i]))
		})},
		{"raw, a statement each", callers(b.round, n, func(ctx context.Context, i int) error {
			singleVersions[i]++
			rec, s := record(), single(i)
			meta, err := json.Marshal(rec.Meta)
			if err != nil {
				return err
			}
			_, err = insert.ExecContext(ctx, rec.ID[:], s.Category, s.ID, int64(singleVersions[i]), rec.Type, rec.Schema, []byte(rec.Data), string(meta), time.Now().UnixMicro())
			return err
		})},
		{"cleave", callers(b.round, n, func(ctx context.Context, i int) error {
			versions[i]++
			_, err := st.Append(ctx, ours(i), eventsource.At(versions[i]-1), record())
			return err
		})},
	}, nil
}

// inTransaction appends as one does by hand: the stream's row, the event, commit. pgx prepares each statement
// once for a connection.
func inTransaction(ctx context.Context, raw *sql.DB, s event.Stream, version int64) error {
	rec := record()
	meta, err := json.Marshal(rec.Meta)
	if err != nil {
		return err
	}
	tx, err := raw.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `INSERT INTO es_stream (version, category, id) VALUES ($1, $2, $3)
		ON CONFLICT (tenant, category, id) DO UPDATE SET version = excluded.version`, version, s.Category, s.ID); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO es_event (event_id, category, stream_id, version, type, schema, data, meta, recorded_at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, rec.ID[:], s.Category, s.ID, version, rec.Type, rec.Schema, []byte(rec.Data),
		string(meta), time.Now().UnixMicro()); err != nil {
		return err
	}
	return tx.Commit()
}

func postgresFeed(ctx context.Context, b *bench) ([]lane, error) {
	db, raw, err := b.postgres(ctx)
	if err != nil {
		return nil, err
	}
	st, ours := sqlstore.New(db), streams()
	for s := 0; s*1000 < b.records; s++ {
		recs := make([]event.Record, 1000)
		for i := range recs {
			recs[i] = record()
		}
		if _, err := st.Append(ctx, ours(s), eventsource.NoStream, recs...); err != nil {
			return nil, err
		}
	}
	head, err := st.Head(ctx)
	if err != nil {
		return nil, err
	}
	after := head - event.Position(b.records)
	scan, err := scannerOf(ctx, raw, columns+`WHERE position > $1 ORDER BY position`)
	if err != nil {
		return nil, err
	}
	return []lane{
		{"raw scan", counted(func(ctx context.Context) (int, error) { return scan(ctx, int64(after)) })},
		{"cleave", counted(func(ctx context.Context) (int, error) {
			return drain(st.Feed(ctx, eventsource.FeedOptions{After: after}))
		})},
	}, nil
}
