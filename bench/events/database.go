package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/sqldb"
)

// record is what is appended everywhere: 200 bytes of data, metadata of a request of its own.
func record() event.Record {
	id := event.NewID()
	trace := strings.ReplaceAll(id.String(), "-", "")
	return event.Record{ID: id, Type: "order.placed", Schema: 1, Data: data, Meta: event.Meta{
		Correlation: trace, Actor: "consumer-1", TraceParent: "00-" + trace + "-b7ad6b7169203331-01"}}
}

var data = json.RawMessage(`{"restaurant":"ajanta","note":"` + strings.Repeat("x", 150) + `","total":1234}`)

func stream(n int) event.Stream { return event.Stream{Category: "order", ID: fmt.Sprintf("o-%d", n)} }

func (b *bench) path() string {
	b.n++
	return filepath.Join(b.dir, fmt.Sprintf("%d.db", b.n))
}

// open makes an empty database with the event tables, until ctx ends.
func (b *bench) open(ctx context.Context) (*sqldb.DB, string, error) {
	path := b.path()
	db, err := sqldb.Open(ctx, "sqlite:"+path, nil)
	if err != nil {
		return nil, "", err
	}
	context.AfterFunc(ctx, func() { db.Close() })
	return db, path, sqlstore.Setup(ctx, db)
}

// filled is a database with b.records records in streams of 1,000.
func (b *bench) filled(ctx context.Context, n int) (*sqldb.DB, string, error) {
	db, path, err := b.open(ctx)
	if err != nil {
		return nil, "", err
	}
	st := sqlstore.New(db)
	for s := 0; s*1000 < n; s++ {
		recs := make([]event.Record, 1000)
		for i := range recs {
			recs[i] = record()
		}
		if _, err := st.Append(ctx, stream(s), eventsource.NoStream, recs...); err != nil {
			return nil, "", err
		}
	}
	return db, path, nil
}

// raw is one connection with prepared statements, and the pragmas that sqldb sets.
type raw struct {
	conn          *sql.Conn
	insert, write *sql.Stmt
	begin, commit *sql.Stmt
}

func (b *bench) raw(ctx context.Context) (*raw, error) {
	db, path, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	if err := db.Close(); err != nil {
		return nil, err
	}
	conn, err := connect(ctx, path)
	if err != nil {
		return nil, err
	}
	r := &raw{conn: conn}
	for st, text := range map[**sql.Stmt]string{
		&r.begin:  `BEGIN IMMEDIATE`,
		&r.commit: `COMMIT`,
		&r.insert: `INSERT INTO es_event (event_id, category, stream_id, version, type, schema, data, meta, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		&r.write: `INSERT INTO es_stream (version, category, id) VALUES (?, ?, ?)
			ON CONFLICT (tenant, category, id) DO UPDATE SET version = excluded.version`,
	} {
		if *st, err = conn.PrepareContext(ctx, text); err != nil {
			return nil, err
		}
	}
	return r, nil
}

func connect(ctx context.Context, path string) (*sql.Conn, error) {
	query := url.Values{"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"}}
	db, err := sql.Open("sqlite", "file:"+path+"?"+query.Encode())
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { db.Close() })
	return db.Conn(ctx)
}

// append writes one record at a version, inside a transaction.
func (r *raw) append(ctx context.Context, s event.Stream, version uint64) error {
	rec := record()
	meta, err := json.Marshal(rec.Meta)
	if err != nil {
		return err
	}
	if _, err := r.insert.ExecContext(ctx, rec.ID[:], s.Category, s.ID, int64(version), rec.Type, rec.Schema, []byte(rec.Data), string(meta), time.Now().UnixMicro()); err != nil {
		return err
	}
	_, err = r.write.ExecContext(ctx, int64(version), s.Category, s.ID)
	return err
}
