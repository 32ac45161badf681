package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/sqldb"
)

// Parked is a stream that a consumer has set aside.
type Parked struct {
	Stream event.Stream
	At     At // of the message that failed
	Kept   int
	Tries  int
	Error  string
	Since  time.Time
	Due    time.Time // when it is resumed by itself; zero: never
}

// Kept is a message of such a stream.
type Kept struct {
	Subject string
	At      At
	event.Record
}

const ofKey = ` WHERE name = ? AND version = ? AND source = ? `
const ofStream = ofKey + `AND category = ? AND stream_id = ? `

func (k Key) args(more ...any) []any { return append([]any{k.Name, k.Version, k.Source}, more...) }

func (k Key) stream(s event.Stream, more ...any) []any {
	return append([]any{k.Name, k.Version, k.Source, s.Category, s.ID}, more...)
}

const parkedColumns = `category, stream_id, epoch, position, kept, tries, error, parked_at, due_at`

// ListParked returns the parked streams of k, the longest parked first. due:
// only those that are to be resumed by then.
func ListParked(ctx context.Context, q sqldb.Queryer, k Key, due time.Time, most int) ([]Parked, error) {
	text, args := `SELECT `+parkedColumns+` FROM es_parked`+ofKey, k.args()
	if !due.IsZero() {
		text, args = text+`AND due_at > 0 AND due_at <= ? `, append(args, due.UnixMicro())
	}
	rows, err := q.QueryContext(ctx, text+`ORDER BY parked_at, category, stream_id LIMIT ?`, append(args, most)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Parked
	for rows.Next() {
		var p Parked
		var since, dueAt int64
		if err := rows.Scan(&p.Stream.Category, &p.Stream.ID, &p.At.Epoch, &p.At.Position, &p.Kept, &p.Tries, &p.Error, &since, &dueAt); err != nil {
			return nil, err
		}
		p.Since = time.UnixMicro(since).UTC()
		if dueAt > 0 {
			p.Due = time.UnixMicro(dueAt).UTC()
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

// ParkedStreams returns how many messages each parked stream of k keeps.
func ParkedStreams(ctx context.Context, q sqldb.Queryer, k Key) (map[event.Stream]int, error) {
	rows, err := q.QueryContext(ctx, `SELECT category, stream_id, kept FROM es_parked`+ofKey, k.args()...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var kept map[event.Stream]int
	for rows.Next() {
		var s event.Stream
		var n int
		if err := rows.Scan(&s.Category, &s.ID, &n); err != nil {
			return nil, err
		}
		if kept == nil {
			kept = map[event.Stream]int{}
		}
		kept[s] = n
	}
	return kept, rows.Err()
}

// Park sets a stream aside.
func Park(ctx context.Context, tx sqldb.Tx, k Key, p Parked) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO es_parked (name, version, source, `+parkedColumns+`)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, k.stream(p.Stream,
		p.At.Epoch, int64(p.At.Position), 0, p.Tries, p.Error, p.Since.UnixMicro(), micro(p.Due))...)
	return err
}

func micro(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// HoldParked adds to what a parked stream keeps and to its tries, holds the row
// until the transaction ends, and returns the tries. The error is sql.ErrNoRows
// when the stream is not parked.
func HoldParked(ctx context.Context, tx sqldb.Tx, k Key, s event.Stream, kept, tries int) (int, error) {
	var n int
	err := tx.QueryRowContext(ctx, `UPDATE es_parked SET kept = kept + ?, tries = tries + ?`+ofStream+`RETURNING tries`,
		append([]any{kept, tries}, k.stream(s)...)...).Scan(&n)
	return n, err
}

// NoteParked writes why and at which message a parked stream could not go on,
// and when that is to be tried again.
func NoteParked(ctx context.Context, tx sqldb.Tx, k Key, p Parked) error {
	_, err := tx.ExecContext(ctx, `UPDATE es_parked SET epoch = ?, position = ?, error = ?, due_at = ?`+ofStream,
		append([]any{p.At.Epoch, int64(p.At.Position), p.Error, micro(p.Due)}, k.stream(p.Stream)...)...)
	return err
}

// Unpark forgets that a stream was set aside.
func Unpark(ctx context.Context, tx sqldb.Tx, k Key, s event.Stream) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM es_parked`+ofStream, k.stream(s)...)
	return err
}

// UnparkAll forgets everything that was set aside, and the messages with it.
func UnparkAll(ctx context.Context, tx sqldb.Tx, k Key) error {
	_, err1 := tx.ExecContext(ctx, `DELETE FROM es_parked`+ofKey, k.args()...)
	_, err2 := tx.ExecContext(ctx, `DELETE FROM es_parked_message`+ofKey, k.args()...)
	return errors.Join(err1, err2)
}

// Keep writes a message of a parked stream.
func Keep(ctx context.Context, tx sqldb.Tx, k Key, m Kept) error {
	meta, err := json.Marshal(m.Meta)
	if err != nil {
		return err
	}
	data := []byte(m.Data)
	if data == nil {
		data = []byte{}
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO es_parked_message (name, version, source, category, stream_id, epoch, position, subject,
		event_id, stream_version, type, schema, recorded_at, meta, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		k.stream(m.Stream, m.At.Epoch, int64(m.At.Position), m.Subject, m.ID.String(), int64(m.Version), m.Type, m.Schema,
			m.Time.UnixMicro(), string(meta), data)...)
	return err
}

// ListKept returns the first messages of a parked stream, in their order.
func ListKept(ctx context.Context, q sqldb.Queryer, k Key, s event.Stream, most int) ([]Kept, error) {
	rows, err := q.QueryContext(ctx, `SELECT epoch, position, subject, event_id, stream_version, type, schema, recorded_at, meta, data
		FROM es_parked_message`+ofStream+`ORDER BY epoch, position LIMIT ?`, k.stream(s, most)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Kept
	for rows.Next() {
		m := Kept{Record: event.Record{Stream: s}}
		var id, meta string
		var data []byte
		var recorded int64
		if err := rows.Scan(&m.At.Epoch, &m.At.Position, &m.Subject, &id, &m.Version, &m.Type, &m.Schema, &recorded, &meta, &data); err != nil {
			return nil, err
		}
		m.Position, m.Data, m.Time = m.At.Position, data, time.UnixMicro(recorded).UTC()
		var err error
		if m.ID, err = event.ParseID(id); err == nil {
			err = json.Unmarshal([]byte(meta), &m.Meta)
		}
		if err != nil {
			return nil, fmt.Errorf("message at position %d of parked stream %s: %w", m.Position, s, err)
		}
		list = append(list, m)
	}
	return list, rows.Err()
}

// DropKept removes a message of a parked stream.
func DropKept(ctx context.Context, tx sqldb.Tx, k Key, m Kept) error {
	_, err := tx.ExecContext(ctx, `DELETE FROM es_parked_message`+ofStream+`AND epoch = ? AND position = ?`,
		k.stream(m.Stream, m.At.Epoch, int64(m.At.Position))...)
	return err
}
