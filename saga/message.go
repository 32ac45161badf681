package saga

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/sqldb"
)

// A command is a record of type Endpoint.Command in the stream
// "$cmd.<service>/<saga id>"; its data is the request. The extension
// "command" carries the command's id: a command that is sent again is a new
// record with the same id. The command and its undo share the stream, so they
// arrive in their order.
//
// A reply is a record of the same type in "$rpl.<caller>/<saga id>", caused by
// the command's id; its data is a reply.

const commandExt = "command"

type reply struct {
	Outcome string          `json:"outcome"`
	Code    string          `json:"code,omitempty"`
	Message string          `json:"message,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// The outcomes of a reply.
const (
	outcomeDone    = "done"
	outcomeRefused = "refused"
	outcomeNotYet  = "not-yet"
)

const (
	maxPayload = 256 << 10 // bytes of a command, a reply or a saga's data
	maxMessage = 1000      // bytes of a refusal's message
	maxCode    = 100
)

// commandID is the id of a saga's n-th command: the same after a crash.
func commandID(saga event.ID, n int) event.ID { return event.DeriveID("saga/"+saga.String(), n) }

func sendCommand(ctx context.Context, tx sqldb.Tx, service, command string, saga, id event.ID, meta event.Meta, req any) error {
	data, err := encode("command "+command, req)
	if err != nil {
		return &unsendableError{err}
	}
	meta.Ext = map[string]string{commandExt: id.String()}
	return send(ctx, tx, "$cmd."+service, saga.String(), command, meta, data)
}

// unsendableError says that a command could not be made, through no fault of
// the database.
type unsendableError struct{ err error }

func (e *unsendableError) Error() string { return e.err.Error() }

func send(ctx context.Context, tx sqldb.Tx, category, stream, kind string, meta event.Meta, data json.RawMessage) error {
	s := event.Stream{Category: category, ID: stream}
	_, err := outbox.Add(ctx, tx, s, event.Record{ID: event.NewID(), Type: kind, Schema: 1, Meta: meta, Data: data})
	return err
}

func encode(what string, v any) (json.RawMessage, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("saga: %s: %w", what, err)
	}
	if len(data) > maxPayload {
		return nil, fmt.Errorf("saga: %s has %d bytes, at most %d travel", what, len(data), maxPayload)
	}
	return data, nil
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
