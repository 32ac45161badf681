package eventtable

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/sqldb"
)

// purged is the type of a record whose data is gone. It keeps its position,
// version and ID.
const purged = "$purged"

// StreamState does what eventsource.Archives promises.
func StreamState(ctx context.Context, q sqldb.Queryer, s event.Stream) (eventsource.StreamState, error) {
	var version, first int64
	var archived sql.Null[int64]
	err := q.QueryRowContext(ctx, `SELECT version, truncate_before, archived_at FROM es_stream
		WHERE tenant = '' AND category = ? AND id = ?`, s.Category, s.ID).Scan(&version, &first, &archived)
	if errors.Is(err, sql.ErrNoRows) {
		return eventsource.StreamState{}, nil
	}
	st := eventsource.StreamState{Version: uint64(version), First: uint64(max(first, 1))}
	if archived.Valid {
		st.Archived = time.UnixMicro(archived.V).UTC()
	}
	return st, err
}

// Truncate does what eventsource.Archives promises.
func Truncate(ctx context.Context, tx sqldb.Tx, s event.Stream, first uint64) error {
	st, err := StreamState(ctx, tx, s)
	if err != nil {
		return fmt.Errorf("eventsource: truncate %s: %w", s, err)
	}
	var gone int64
	err = tx.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM es_event
		WHERE tenant = '' AND category = ? AND stream_id = ? AND type = ?`, s.Category, s.ID, purged).Scan(&gone)
	if err != nil {
		return fmt.Errorf("eventsource: truncate %s: %w", s, err)
	}
	if err := eventsource.CheckTruncate(s, st, first, uint64(gone)); err != nil {
		return err
	}
	return update(ctx, tx, s, "truncate", `UPDATE es_stream SET truncate_before = ? WHERE tenant = '' AND category = ? AND id = ?`, int64(first))
}

// Purge does what eventsource.Archives promises.
func Purge(ctx context.Context, tx sqldb.Tx, s event.Stream, upTo event.Position) (int, error) {
	res, err := tx.ExecContext(ctx, `UPDATE es_event SET type = ?, schema = 0, data = ?, meta = '{}' WHERE position IN
		(SELECT position FROM es_event WHERE tenant = '' AND category = ? AND stream_id = ? AND type <> ? AND position <= ? AND version <
			(SELECT truncate_before FROM es_stream WHERE tenant = '' AND category = ? AND id = ?)
		ORDER BY version LIMIT ?)`,
		purged, []byte{}, s.Category, s.ID, purged, clamp(uint64(upTo)), s.Category, s.ID, eventsource.MaxPurge)
	if err != nil {
		return 0, fmt.Errorf("eventsource: purge %s: %w", s, err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// Archive does what eventsource.Archives promises.
func Archive(ctx context.Context, tx sqldb.Tx, s event.Stream) error {
	return update(ctx, tx, s, "archive", `UPDATE es_stream SET archived_at = coalesce(archived_at, ?)
		WHERE tenant = '' AND category = ? AND id = ?`, time.Now().UnixMicro())
}

// Unarchive does what eventsource.Archives promises.
func Unarchive(ctx context.Context, tx sqldb.Tx, s event.Stream) error {
	return update(ctx, tx, s, "unarchive", `UPDATE es_stream SET archived_at = NULL WHERE tenant = '' AND category = ? AND id = ?`)
}

// update changes the row of a stream, which must be there.
func update(ctx context.Context, tx sqldb.Tx, s event.Stream, what, text string, args ...any) error {
	res, err := tx.ExecContext(ctx, text, append(args, s.Category, s.ID)...)
	if err != nil {
		return fmt.Errorf("eventsource: %s %s: %w", what, s, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(fmt.Errorf("eventsource: %s %s: there is no such stream", what, s), err)
	}
	return nil
}
