package saga

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/saga/internal/machine"
	"github.com/cleave-go/cleave/sqldb"
)

const (
	patience    = 4                   // technical errors in place until the caller is told "not yet"
	keepReplies = 30 * 24 * time.Hour // much longer than a command is sent again
	purgeEvery  = time.Hour
	maxFailed   = 10_000
)

// CodeMalformed is the Refusal's code for a command whose data does not fit
// the handler.
const CodeMalformed = "MALFORMED"

// Handler carries out one command.
type Handler struct {
	service, command string
	run              func(ctx context.Context, tx sqldb.Tx, data json.RawMessage) (json.RawMessage, error)
}

// Handle makes a Handler of f. What f writes to tx and the reply commit
// together; when f returns an error, what it wrote is taken back:
//
//   - nil: done, rep is the reply;
//   - a *Refusal: refused for good, the saga is undone;
//   - ErrNotYet: something has not arrived yet, the caller asks again soon;
//   - any other error, and a panic: tried again in place a few times, then as
//     ErrNotYet.
func Handle[Req, Rep any](ep Endpoint[Req, Rep], f func(ctx context.Context, tx sqldb.Tx, req Req) (Rep, error)) Handler {
	run := func(ctx context.Context, tx sqldb.Tx, data json.RawMessage) (json.RawMessage, error) {
		var req Req
		if err := json.Unmarshal(data, &req); err != nil {
			return nil, Refuse(CodeMalformed, err.Error())
		}
		rep, err := f(ctx, tx, req)
		if err != nil {
			return nil, err
		}
		return encode("the reply to "+ep.Command, rep)
	}
	return Handler{ep.Service, ep.Command, run}
}

// Command is the name of the command that h carries out.
func (h Handler) Command() string { return h.command }

// CarryOut calls the handler with a request as it travels, and returns the
// reply as it travels: for tests, in the place of a bus. The error is what the
// handler returned.
func (h Handler) CarryOut(ctx context.Context, tx sqldb.Tx, request json.RawMessage) (reply json.RawMessage, err error) {
	return h.run(ctx, tx, request)
}

// Participant carries out the commands that other services' sagas send to this
// one, and answers them.
type Participant struct {
	service  string
	db       *sqldb.DB
	bus      bus.Bus
	log      *slog.Logger
	onError  bus.Policy
	callers  []string
	handlers map[string]Handler

	mu     sync.Mutex
	failed map[event.ID]int // technical errors by command
}

// NewParticipant returns a participant that carries out the commands of the
// sagas in the services callers. A service has one participant. It starts
// nothing.
func NewParticipant(service string, db *sqldb.DB, b bus.Bus, callers []string, o *Options, handlers ...Handler) (*Participant, error) {
	p := &Participant{service: service, db: db, bus: b, log: o.logger(), onError: o.onError(), callers: slices.Compact(slices.Sorted(slices.Values(callers))),
		handlers: map[string]Handler{}, failed: map[event.ID]int{}}
	for _, name := range append([]string{service}, p.callers...) {
		if err := checkName("service", name); err != nil {
			return nil, fmt.Errorf("saga: %w", err)
		}
	}
	for _, h := range handlers {
		switch {
		case h.service != service:
			return nil, fmt.Errorf("saga: %s is a command to %s, not to %s", h.command, h.service, service)
		case p.handlers[h.command].run != nil:
			return nil, fmt.Errorf("saga: two handlers of %s", h.command)
		}
		if err := checkName("command", h.command); err != nil {
			return nil, fmt.Errorf("saga: %w", err)
		}
		p.handlers[h.command] = h
	}
	return p, nil
}

// Run creates the tables if need be and carries out commands until ctx ends.
func (p *Participant) Run(ctx context.Context) error {
	if err := Setup(ctx, p.db); err != nil {
		return err
	}
	runs := []func(context.Context) error{p.purge}
	for _, caller := range p.callers {
		c := &bus.Consumer{
			Name: "saga-commands", DB: p.db, Bus: p.bus, Logger: p.log, Handle: p.handle, OnError: p.onError,
			Filter: bus.Filter{Source: caller, Subjects: []string{"cmd." + p.service + ".>"}},
		}
		runs = append(runs, c.Run)
	}
	return together(ctx, runs...)
}

func (p *Participant) handle(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
	command := m.ID
	if id, err := event.ParseID(m.Meta.Ext[commandExt]); err == nil {
		command = id
	}
	rep, err := storedReply(ctx, tx, command)
	if errors.Is(err, sql.ErrNoRows) {
		rep, err = p.carryOut(ctx, tx, command, m)
	}
	if err != nil {
		return err
	}
	meta := event.Follows(m.Record)
	meta.Causation = command.String()
	return send(ctx, tx, "$rpl."+m.Source, m.Stream.ID, m.Type, meta, rep)
}

func storedReply(ctx context.Context, tx sqldb.Tx, command event.ID) (json.RawMessage, error) {
	var rep []byte
	err := tx.QueryRowContext(ctx, `SELECT reply FROM saga_reply WHERE command = ?`, command.String()).Scan(&rep)
	return rep, err
}

// carryOut lets the handler act and stores its answer, if that is for good.
func (p *Participant) carryOut(ctx context.Context, tx sqldb.Tx, command event.ID, m bus.Message) (json.RawMessage, error) {
	var rep reply
	data, err := p.act(ctx, tx, m)
	x := outcome(err)
	p.count(command, x.Kind == machine.Failed)
	switch x.Kind {
	case machine.Done:
		rep = reply{Outcome: outcomeDone, Data: data}
	case machine.Refused:
		rep = reply{Outcome: outcomeRefused, Code: x.Code, Message: x.Message}
	case machine.NotYet:
		rep = reply{Outcome: outcomeNotYet, Message: x.Message}
	default:
		if ctx.Err() != nil || p.worthTrying(command) {
			return nil, err
		}
		p.log.Error("saga: a command is put off", "command", m.Type, "saga", m.Stream.ID, "error", err)
		rep = reply{Outcome: outcomeNotYet, Message: x.Message}
	}
	raw, err := json.Marshal(rep)
	if err != nil || rep.Outcome == outcomeNotYet {
		return raw, err
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO saga_reply (command, reply, answered_at) VALUES (?, ?, ?)`,
		command.String(), string(raw), time.Now().UnixMilli())
	return raw, err
}

func (p *Participant) act(ctx context.Context, tx sqldb.Tx, m bus.Message) (data json.RawMessage, err error) {
	h, ok := p.handlers[m.Type]
	if !ok { // a newer version of this service may know it
		return nil, fmt.Errorf("%w: %s does not know the command %s", ErrNotYet, p.service, m.Type)
	}
	err = safely(func() error {
		return sqldb.Savepoint(ctx, tx, func(ctx context.Context) error {
			var err error
			data, err = h.run(ctx, tx, m.Data)
			return err
		})
	})
	return data, err
}

// count counts the technical errors of command, or forgets them.
func (p *Participant) count(command event.ID, failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !failed:
		delete(p.failed, command)
	case len(p.failed) > maxFailed:
		clear(p.failed)
	default:
		p.failed[command]++
	}
}

// worthTrying reports whether to try command again in place, rather than to let
// the others behind it pass.
func (p *Participant) worthTrying(command event.ID) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed[command] < patience
}

// purge forgets the replies nobody can ask for any more.
func (p *Participant) purge(ctx context.Context) error {
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := p.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
			_, err := tx.ExecContext(ctx, `DELETE FROM saga_reply WHERE command IN
				(SELECT command FROM saga_reply WHERE answered_at < ? ORDER BY answered_at LIMIT 10000)`, time.Now().Add(-keepReplies).UnixMilli())
			return err
		})
		if err != nil && ctx.Err() == nil {
			p.log.Error("saga: purge of old replies", "error", err)
		}
	}
}
