package rpi

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	"github.com/cleave-go/cleave/auth"
)

// callHeader carries the id of a call, the same in each of its tries. It is not
// named Idempotency-Key because transports repeat requests that have one.
const callHeader = "Cleave-Call"

const maxCallID = 64

// OnceSchema is the table in which Once keeps replies, for SQLite and PostgreSQL;
// it belongs into a service's migrations.
const OnceSchema = `CREATE TABLE cleave_replies (
	call  TEXT   NOT NULL PRIMARY KEY,
	at    BIGINT NOT NULL,
	reply BYTEA  NOT NULL
);
CREATE INDEX cleave_replies_at ON cleave_replies (at);
`

// Tx is the part of a transaction that Once needs; sqldb.Tx and *sql.Tx have it.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// replyKept is how long a reply is kept: longer than any call lasts that could
// be repeated.
const replyKept = 10 * time.Minute

// Once runs f unless the call that ctx serves was answered before, by whatever
// instance shares the database; then it returns that reply. What f writes by tx
// and its reply are committed together, or neither. An error is no reply: f runs
// again. A call without an id, which is one not declared idempotent, or not made
// through Remote, is one that was never answered.
func Once[T any, M interface {
	*T
	proto.Message
}](ctx context.Context, tx Tx, f func() (M, error)) (M, error) {
	key, err := callKey(ctx)
	if err != nil {
		return nil, err
	}
	if key == "" {
		return f()
	}
	var kept []byte
	switch err := tx.QueryRowContext(ctx, "SELECT reply FROM cleave_replies WHERE call = ?", key).Scan(&kept); {
	case err == nil:
		var reply M = new(T)
		if err := proto.Unmarshal(kept, reply); err != nil {
			return nil, fmt.Errorf("read the reply kept of a call: %w", err)
		}
		return reply, nil
	case !errors.Is(err, sql.ErrNoRows):
		return nil, fmt.Errorf("look for the reply to a call: %w", err)
	}
	reply, err := f()
	if err != nil {
		return nil, err
	}
	if kept, err = proto.Marshal(reply); err != nil {
		return nil, fmt.Errorf("keep the reply to a call: %w", err)
	}
	now := time.Now()
	if _, err := tx.ExecContext(ctx, "DELETE FROM cleave_replies WHERE at < ?", now.Add(-replyKept).UnixMilli()); err != nil {
		return nil, fmt.Errorf("forget old replies: %w", err)
	}
	if _, err := tx.ExecContext(ctx, "INSERT INTO cleave_replies (call, at, reply) VALUES (?, ?, ?)", key, now.UnixMilli(), kept); err != nil {
		return nil, fmt.Errorf("keep the reply to a call: %w", err)
	}
	return reply, nil
}

// callKey names the call that ctx serves, "" if it has no id. Ids of one caller
// do not reach the replies to another.
func callKey(ctx context.Context) (string, error) {
	info, ok := connect.CallInfoForServerContext(ctx)
	if !ok {
		return "", nil
	}
	id := info.RequestHeader().Get(callHeader)
	if id == "" {
		return "", nil
	}
	if len(id) > maxCallID {
		return "", InvalidField(callHeader, fmt.Sprintf("longer than %d bytes", maxCallID))
	}
	who, _ := auth.From(ctx)
	return info.Spec.Procedure + "\n" + who.Subject + "\n" + id, nil
}
