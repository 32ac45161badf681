package main

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/sqldb"
)

const columns = `SELECT event_id, category, stream_id, version, position, type, schema, recorded_at, meta, data FROM es_event `

func readStream(ctx context.Context, b *bench) ([]lane, error) {
	db, path, err := b.filled(ctx, b.records)
	if err != nil {
		return nil, err
	}
	scan, err := scanner(ctx, path, columns+`WHERE tenant = '' AND category = ? AND stream_id = ? ORDER BY version`)
	if err != nil {
		return nil, err
	}
	count := b.records / 1000
	return []lane{
		{"raw scan", counted(func(ctx context.Context) (n int, err error) {
			for s := range count {
				m, err := scan(ctx, "order", stream(s).ID)
				if n += m; err != nil {
					return n, err
				}
			}
			return n, nil
		})},
		{"cleave", counted(func(ctx context.Context) (n int, err error) {
			for s := range count {
				m, err := drain(sqlstore.New(db).Read(ctx, stream(s), eventsource.ReadOptions{}))
				if n += m; err != nil {
					return n, err
				}
			}
			return n, nil
		})},
	}, nil
}

func readFeed(ctx context.Context, b *bench) ([]lane, error) {
	db, path, err := b.filled(ctx, b.records)
	if err != nil {
		return nil, err
	}
	scan, err := scanner(ctx, path, columns+`WHERE position > ? ORDER BY position`)
	if err != nil {
		return nil, err
	}
	return []lane{
		{"raw scan", counted(func(ctx context.Context) (int, error) { return scan(ctx, 0) })},
		{"cleave", counted(func(ctx context.Context) (int, error) { return feedOf(ctx, db) })},
	}, nil
}

func feedOf(ctx context.Context, db *sqldb.DB) (int, error) {
	return drain(sqlstore.New(db).Feed(ctx, eventsource.FeedOptions{}))
}

func drain(seq iter.Seq2[event.Record, error]) (n int, err error) {
	for _, err := range seq {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// scanner returns a function that reads all rows of a query into a record each, but for what needs decoding.
func scanner(ctx context.Context, path, text string) (func(ctx context.Context, args ...any) (int, error), error) {
	conn, err := connect(ctx, path)
	if err != nil {
		return nil, err
	}
	return scannerOf(ctx, conn, text)
}

func scannerOf(ctx context.Context, conn interface {
	PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
}, text string) (func(ctx context.Context, args ...any) (int, error), error) {
	st, err := conn.PrepareContext(ctx, text)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, args ...any) (n int, err error) {
		rows, err := st.QueryContext(ctx, args...)
		if err != nil {
			return 0, err
		}
		defer rows.Close()
		for rows.Next() {
			var r event.Record
			var id, meta sql.RawBytes
			var version, position, schema, recorded int64
			var data []byte
			if err := rows.Scan(&id, &r.Stream.Category, &r.Stream.ID, &version, &position, &r.Type, &schema, &recorded, &meta, &data); err != nil {
				return n, err
			}
			copy(r.ID[:], id)
			r.Version, r.Position, r.Schema = uint64(version), event.Position(position), int(schema)
			r.Time, r.Data = time.UnixMicro(recorded), data
			n++
		}
		return n, rows.Err()
	}, nil
}

// counted makes a lane of something that returns how much it did.
func counted(f func(ctx context.Context) (int, error)) func(ctx context.Context) (float64, error) {
	return func(ctx context.Context) (float64, error) {
		start := time.Now()
		n, err := f(ctx)
		if err == nil && n == 0 {
			err = fmt.Errorf("nothing was done")
		}
		return float64(n) / time.Since(start).Seconds(), err
	}
}
