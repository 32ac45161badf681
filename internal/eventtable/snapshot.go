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

// SavedState does what eventsource.Snapshots promises.
func SavedState(ctx context.Context, q sqldb.Queryer, s event.Stream) (eventsource.SavedState, error) {
	var saved eventsource.SavedState
	var version, position, recorded int64
	var state []byte
	err := q.QueryRowContext(ctx, `SELECT version, position, recorded_at, schema, state FROM es_snapshot
		WHERE tenant = '' AND category = ? AND stream_id = ?`, s.Category, s.ID).Scan(&version, &position, &recorded, &saved.Schema, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return saved, nil
	}
	if err != nil {
		return saved, fmt.Errorf("eventsource: snapshot of %s: %w", s, err)
	}
	saved.Version, saved.Position = uint64(version), event.Position(position)
	saved.Time, saved.State = time.UnixMicro(recorded).UTC(), state
	return saved, nil
}

// SaveState does what eventsource.Snapshots promises.
func SaveState(ctx context.Context, tx sqldb.Tx, s event.Stream, state eventsource.SavedState) error {
	if err := eventsource.CheckState(s, state); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, `INSERT INTO es_snapshot (category, stream_id, version, position, recorded_at, schema, state)
		VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant, category, stream_id) DO UPDATE
		SET version = excluded.version, position = excluded.position, recorded_at = excluded.recorded_at,
			schema = excluded.schema, state = excluded.state
		WHERE excluded.schema > es_snapshot.schema OR excluded.schema = es_snapshot.schema AND excluded.version > es_snapshot.version`,
		s.Category, s.ID, int64(state.Version), int64(state.Position), state.Time.UnixMicro(), state.Schema, []byte(state.State))
	if err != nil {
		return fmt.Errorf("eventsource: snapshot of %s: %w", s, err)
	}
	return nil
}

// Lookup does what eventsource.Store promises.
func Lookup(ctx context.Context, q sqldb.Queryer, id event.ID) (eventsource.Commit, bool, error) {
	var c eventsource.Commit
	var position, version int64
	err := q.QueryRowContext(ctx, `SELECT position, category, stream_id, version FROM es_event WHERE event_id = ?`, id[:]).
		Scan(&position, &c.Stream.Category, &c.Stream.ID, &version)
	if errors.Is(err, sql.ErrNoRows) {
		return c, false, nil
	}
	c.Version, c.Position = uint64(version), event.Position(position)
	return c, err == nil, err
}
