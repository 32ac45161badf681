package eventtable

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/sqldb"
)

// query returns the records of a query for columns, as far as they fit into a
// page, in the place of those of an earlier page.
func query(ctx context.Context, q sqldb.Queryer, earlier []event.Record, text string, args ...any) ([]event.Record, error) {
	rows, err := q.QueryContext(ctx, text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	recs := earlier[:0]
	var r row
	bytes := 0
	for bytes < pageBytes && rows.Next() {
		recs = append(recs, event.Record{})
		if err := r.scan(rows, &recs[len(recs)-1]); err != nil {
			return nil, err
		}
		bytes += len(recs[len(recs)-1].Data)
	}
	return recs, rows.Err()
}

// row is where columns are scanned to: a driver's own values, which is what
// costs least.
type row struct {
	id                                  sql.RawBytes
	category, stream, typ, meta         any
	version, position, schema, recorded any
	data                                []byte
	into                                [10]any
	lastCategory, lastStream, lastType  string
}

func (r *row) scan(rows *sql.Rows, rec *event.Record) error {
	if r.into[0] == nil {
		r.into = [...]any{&r.id, &r.category, &r.stream, &r.version, &r.position, &r.typ, &r.schema, &r.recorded, &r.meta, &r.data}
	}
	if err := rows.Scan(r.into[:]...); err != nil {
		return err
	}
	position, err := number(r.position)
	if err != nil {
		return err
	}
	rec.Position = event.Position(position)
	if len(r.id) != len(rec.ID) {
		return fmt.Errorf("eventsource: the event at position %d has a damaged ID", position)
	}
	copy(rec.ID[:], r.id)
	version, err := number(r.version)
	if err != nil {
		return err
	}
	schema, err := number(r.schema)
	if err != nil {
		return err
	}
	recorded, err := number(r.recorded)
	if err != nil {
		return err
	}
	rec.Version, rec.Schema, rec.Time = uint64(version), int(schema), time.UnixMicro(recorded).UTC()
	rec.Stream.Category, rec.Stream.ID, rec.Type = same(&r.lastCategory, r.category), same(&r.lastStream, r.stream), same(&r.lastType, r.typ)
	rec.Data, r.data = r.data, nil
	if err := parseMeta(text(r.meta), &rec.Meta); err != nil {
		return fmt.Errorf("eventsource: the metadata of the event at position %d: %w", position, err)
	}
	return nil
}

func number(v any) (int64, error) {
	n, ok := v.(int64)
	if !ok {
		return 0, fmt.Errorf("eventsource: the database gives a %T where a number should be", v)
	}
	return n, nil
}

func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}

// same returns a text, the one before it if they are equal: most are, and one is
// kept instead of many.
func same(last *string, v any) string {
	if s := text(v); s != *last {
		*last = s
	}
	return *last
}

// parseMeta reads metadata as insert writes it.
func parseMeta(text string, m *event.Meta) error {
	if text == "{}" || plainMeta(text, m) {
		return nil
	}
	*m = event.Meta{}
	return json.Unmarshal([]byte(text), m)
}

// plainMeta reads the metadata that nearly all events have: texts without
// escapes. It reports false if there is anything else.
func plainMeta(text string, m *event.Meta) bool {
	rest, ok := strings.CutPrefix(text, "{")
	for ok {
		var name, value string
		if name, rest, ok = cutText(rest); !ok {
			return false
		}
		if rest, ok = strings.CutPrefix(rest, ":"); !ok {
			return false
		}
		if value, rest, ok = cutText(rest); !ok {
			return false
		}
		switch name {
		case "correlation":
			m.Correlation = value
		case "causation":
			m.Causation = value
		case "tenant":
			m.Tenant = value
		case "actor":
			m.Actor = value
		case "traceparent":
			m.TraceParent = value
		default:
			return false
		}
		if rest == "}" {
			return true
		}
		rest, ok = strings.CutPrefix(rest, ",")
	}
	return false
}

// cutText returns the JSON text at the beginning of s, if nothing in it is escaped.
func cutText(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	end := strings.IndexByte(s[1:], '"')
	if end < 0 || strings.IndexByte(s[1:1+end], '\\') >= 0 {
		return "", "", false
	}
	return s[1 : 1+end], s[2+end:], true
}
