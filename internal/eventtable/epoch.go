package eventtable

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/sqldb"
)

// Span is an epoch with its records: those behind After, up to those of the
// next one.
type Span struct {
	Name  string
	After event.Position
}

// Epochs returns the epochs of the table, in order.
func Epochs(ctx context.Context, q sqldb.Queryer) ([]Span, error) {
	rows, err := q.QueryContext(ctx, `SELECT epoch, behind FROM es_epoch ORDER BY epoch`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Span
	for rows.Next() {
		var e Span
		if err := rows.Scan(&e.Name, &e.After); err != nil {
			return nil, err
		}
		list = append(list, e)
	}
	if err := rows.Err(); err != nil || len(list) > 0 {
		return list, err
	}
	now, err := Epoch(ctx, q)
	return []Span{{Name: now}}, err
}

// NewEpoch has the table go on in a new epoch: what is behind a position is of
// it. The name of an epoch begins with its time, in 12 hexadecimal digits of
// milliseconds, and sorts behind the names before.
func NewEpoch(ctx context.Context, tx sqldb.Tx, after event.Position) (Span, error) {
	list, err := Epochs(ctx, tx)
	if err != nil {
		return Span{}, err
	}
	last := list[len(list)-1]
	if after < last.After {
		return Span{}, fmt.Errorf("eventsource: a new epoch cannot begin behind position %d: the present one begins behind %d", after, last.After)
	}
	begin := time.Now().UnixMilli()
	if len(last.Name) >= 12 {
		if n, err := strconv.ParseInt(last.Name[:12], 16, 64); err == nil {
			begin = max(begin, n+1)
		}
	}
	random := make([]byte, 10)
	rand.Read(random) // never fails
	e := Span{fmt.Sprintf("%012x", begin) + hex.EncodeToString(random), after}
	if len(list) == 1 && last.After == 0 {
		if _, err := tx.ExecContext(ctx, `INSERT INTO es_epoch (epoch, behind) VALUES (?, 0) ON CONFLICT DO NOTHING`, last.Name); err != nil {
			return e, err
		}
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO es_epoch (epoch, behind) VALUES (?, ?)`, e.Name, int64(after)); err != nil {
		return e, err
	}
	_, err = tx.ExecContext(ctx, `UPDATE es_meta SET epoch = ?`, e.Name)
	return e, err
}
