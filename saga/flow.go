package saga

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/saga/internal/machine"
	"github.com/cleave-go/cleave/sqldb"
)

// flow advances one saga in one transaction: it performs what the machine asks
// for and feeds back what comes of it.
type flow struct {
	d        *definition
	row      row
	data     any // a *D, as row.data says
	now      time.Time
	starting bool // an error of a local step is Start's
}

func (d *definition) flow(r row) (*flow, error) {
	f := &flow{d: d, row: r, now: time.Now().UTC().Truncate(time.Millisecond)}
	return f, f.reset()
}

// reset makes data what row.data says.
func (f *flow) reset() error {
	f.data = f.d.zero()
	if err := json.Unmarshal(f.row.data, f.data); err != nil {
		return fmt.Errorf("saga: the data of %s %s: %w", f.d.name, f.row.key, err)
	}
	return nil
}

// keep makes row.data what data says.
func (f *flow) keep() error {
	data, err := encode("the data of "+f.d.name, f.data)
	if err != nil {
		return err
	}
	f.row.data = data
	return nil
}

// feed advances the saga by x and by all that follows at once.
func (f *flow) feed(ctx context.Context, tx sqldb.Tx, x machine.Input) error {
	for inputs := []machine.Input{x}; len(inputs) > 0; inputs = inputs[1:] {
		in, effects := f.d.plan.Next(f.row.in, inputs[0], f.now)
		f.row.in = in
		for _, e := range effects {
			next, again, err := f.perform(ctx, tx, e)
			if err != nil {
				return err
			}
			if again {
				inputs = append(inputs, next)
			}
		}
	}
	f.row.updated = f.now
	return nil
}

// perform carries out e. It returns an error only when the transaction is to
// be given up.
func (f *flow) perform(ctx context.Context, tx sqldb.Tx, e machine.Effect) (next machine.Input, again bool, err error) {
	if e.Command != 0 {
		err := f.send(ctx, tx, e)
		var bad *unsendableError
		if errors.As(err, &bad) && !f.starting {
			return machine.Input{Kind: machine.Failed, Command: e.Command, Message: clip(bad.Error(), maxMessage)}, true, nil
		}
		return machine.Input{}, false, err
	}
	err = f.act(ctx, tx, e)
	if err != nil && (f.starting || ctx.Err() != nil) {
		return machine.Input{}, false, err
	}
	return outcome(err), true, nil
}

func (f *flow) send(ctx context.Context, tx sqldb.Tx, e machine.Effect) error {
	service, command, request := f.d.steps[e.Step].message(f, e.Undo)
	var req any
	if err := safely(func() error { req = request(); return nil }); err != nil {
		return &unsendableError{err}
	}
	return sendCommand(ctx, tx, service, command, f.row.id, commandID(f.row.id, e.Command), event.MetaFrom(ctx), req)
}

// message returns where the command of the step or its undo goes, and what
// makes it.
func (s step) message(f *flow, undo bool) (service, command string, request func() any) {
	if undo {
		return s.undo.service, s.undo.command, func() any { return s.undo.request(f.data, Failure(f.row.in.Failure)) }
	}
	return s.service, s.command, func() any { return s.request(f.data) }
}

// act carries out a step or an undo in place. What it wrote and changed is
// taken back when it returns an error.
func (f *flow) act(ctx context.Context, tx sqldb.Tx, e machine.Effect) error {
	s := f.d.steps[e.Step]
	return f.orReset(safely(func() error {
		return sqldb.Savepoint(ctx, tx, func(ctx context.Context) error {
			var err error
			if e.Undo {
				err = s.undo.do(ctx, tx, f.data, Failure(f.row.in.Failure))
			} else {
				err = s.do(ctx, tx, f.data)
			}
			if err != nil {
				return err
			}
			return f.keep()
		})
	}))
}

// accept keeps what a reply to the step in hand says.
func (f *flow) accept(data json.RawMessage) error {
	return f.orReset(safely(func() error {
		if err := f.d.steps[f.row.in.Step].got(f.data, data); err != nil {
			return err
		}
		return f.keep()
	}))
}

func (f *flow) orReset(err error) error {
	if err != nil {
		return errors.Join(err, f.reset())
	}
	return nil
}

// outcome is what the machine makes of an error.
func outcome(err error) machine.Input {
	var refusal *Refusal
	switch {
	case err == nil:
		return machine.Input{Kind: machine.Done}
	case errors.As(err, &refusal):
		return machine.Input{Kind: machine.Refused, Code: clip(refusal.Code, maxCode), Message: clip(refusal.Message, maxMessage)}
	case errors.Is(err, ErrNotYet):
		return machine.Input{Kind: machine.NotYet, Message: clip(err.Error(), maxMessage)}
	default:
		return machine.Input{Kind: machine.Failed, Message: clip(err.Error(), maxMessage)}
	}
}

// safely makes an error of a panic in f, which is a user's.
func safely(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("saga: panic: %v", p)
		}
	}()
	return f()
}

// Start writes a new saga into tx and carries out its first steps: the local
// ones at once, then the command of the first call leaves with tx. The same
// key again is the same saga: Start returns its id and changes nothing. key
// has 1 to 200 characters.
//
// An error of a leading local step is returned as it is, and nothing of the
// saga is written.
func (s *Saga[D]) Start(ctx context.Context, tx sqldb.Tx, key string, data D) (event.ID, error) {
	if key == "" || len(key) > maxKey {
		return event.ID{}, fmt.Errorf("saga: the key of %s has 1 to %d characters, not %d", s.d.name, maxKey, len(key))
	}
	st, err := find(ctx, tx, s.d, key)
	if err == nil || !errors.Is(err, ErrUnknown) {
		return st.ID, err
	}
	raw, err := encode("the data of "+s.d.name, data)
	if err != nil {
		return event.ID{}, err
	}
	f, err := s.d.flow(row{id: event.NewID(), kind: s.d.name, edition: s.d.edition, key: key, data: raw, meta: event.MetaFrom(ctx)})
	if err != nil {
		return event.ID{}, err
	}
	f.starting, f.row.started = true, f.now
	if f.row.meta.Correlation == "" {
		f.row.meta.Correlation = f.row.id.String()
	}
	err = sqldb.Savepoint(ctx, tx, func(ctx context.Context) error {
		if err := f.feed(ctx, tx, machine.Input{Kind: machine.Start}); err != nil {
			return err
		}
		return f.row.save(ctx, tx, s.d)
	})
	if err != nil {
		return event.ID{}, err
	}
	return f.row.id, nil
}

const maxKey = 200
