// Package checkpoint keeps where consumers and relays stand in a source, in the
// table es_checkpoint of their own database.
package checkpoint

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/sqldb"
)

// Key names a row.
type Key struct {
	Name    string
	Version int
	Source  string
}

// Relay is where the relay of a service stands in its own table.
func Relay(service string) Key { return Key{Name: "$relay", Source: service} }

// At is a place in a source.
type At struct {
	Epoch    string
	Position event.Position
	Seq      uint64
}

// Load returns where k stands: the zero At before its first Save.
func Load(ctx context.Context, q sqldb.Queryer, k Key) (At, error) {
	var at At
	var position, seq int64
	err := q.QueryRowContext(ctx, `SELECT epoch, position, seq FROM es_checkpoint
		WHERE name = ? AND version = ? AND source = ? AND lane = 0`, k.Name, k.Version, k.Source).Scan(&at.Epoch, &position, &seq)
	if errors.Is(err, sql.ErrNoRows) {
		return At{}, nil
	}
	at.Position, at.Seq = event.Position(position), uint64(seq)
	return at, err
}

// Save moves k from one place to another, and reports false, having done
// nothing, when it is not at from.
func Save(ctx context.Context, tx sqldb.Tx, k Key, from, to At) (bool, error) {
	res, err := tx.ExecContext(ctx, `INSERT INTO es_checkpoint (name, version, source, lane, epoch, position, seq, updated_at)
		VALUES (?, ?, ?, 0, ?, ?, ?, ?)
		ON CONFLICT (name, version, source, lane) DO UPDATE
		SET epoch = excluded.epoch, position = excluded.position, seq = excluded.seq, updated_at = excluded.updated_at
		WHERE es_checkpoint.epoch = ? AND es_checkpoint.position = ?`,
		k.Name, k.Version, k.Source, to.Epoch, int64(to.Position), int64(to.Seq), time.Now().UnixMicro(),
		from.Epoch, int64(from.Position))
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n > 0, err
}
