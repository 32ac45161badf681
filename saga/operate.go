package saga

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/saga/internal/machine"
	"github.com/cleave-go/cleave/sqldb"
)

// ErrPastPivot says that a saga cannot be undone any more: its pivot is done or
// on its way, or it has ended, or is being undone.
var ErrPastPivot = errors.New("saga: cannot be undone: it has come to its point of no return, has ended, or is being undone")

// GivenUpCode is the Failure.Code of a saga that a person had undone.
const GivenUpCode = "GIVEN_UP"

// maxListed is how many sagas a list has at most.
const maxListed = 1000

// Stuck lists the sagas that need a person, those that have waited longest
// first, at most 1,000.
func (r *Orchestrator) Stuck(ctx context.Context) ([]Status, error) {
	return r.list(ctx, `WHERE stuck <> 0 ORDER BY updated_at LIMIT ?`, maxListed)
}

// List lists the sagas that are under way or, with ended, those that are not,
// the ones changed last first, at most 1,000.
func (r *Orchestrator) List(ctx context.Context, ended bool) ([]Status, error) {
	states := []any{string(Running), string(Compensating), maxListed}
	if ended {
		states = []any{string(Completed), string(RolledBack), maxListed}
	}
	return r.list(ctx, `WHERE state IN (?, ?) ORDER BY updated_at DESC LIMIT ?`, states...)
}

func (r *Orchestrator) list(ctx context.Context, which string, args ...any) ([]Status, error) {
	rows, err := r.db.QueryContext(ctx, `SELECT `+columns+` FROM saga_instance `+which, args...)
	if err != nil {
		return nil, fmt.Errorf("saga: list: %w", err)
	}
	defer rows.Close()
	var list []Status
	for rows.Next() {
		row, err := scan(rows, noDefinition)
		if err != nil {
			return nil, err
		}
		list = append(list, row.status())
	}
	return list, rows.Err()
}

// Show returns how a saga stands and its data, as JSON.
func (r *Orchestrator) Show(ctx context.Context, id event.ID) (Status, []byte, error) {
	row, err := load(ctx, r.db, id, noDefinition)
	if errors.Is(err, sql.ErrNoRows) {
		return Status{}, nil, fmt.Errorf("%w: %s", ErrUnknown, id)
	}
	return row.status(), row.data, err
}

// Resume tries the action in hand again now, as if for the first time.
func (r *Orchestrator) Resume(ctx context.Context, id event.ID) error {
	return r.order(ctx, id, func(*flow) (machine.Input, error) { return machine.Input{Kind: machine.Resume}, nil })
}

// Undo gives a saga up and leads it back, as a timeout of the step in hand
// would; the reason is its Failure's message. The error is ErrPastPivot when it
// can only go forward.
func (r *Orchestrator) Undo(ctx context.Context, id event.ID, reason string) error {
	return r.order(ctx, id, func(f *flow) (machine.Input, error) {
		if !f.d.plan.Revocable(f.row.in) {
			return machine.Input{}, fmt.Errorf("%w: %s %s is %s at step %s", ErrPastPivot, f.d.name, f.row.key, states[f.row.in.State], f.row.stepName)
		}
		return machine.Input{Kind: machine.GiveUp, Code: GivenUpCode, Message: clip(reason, maxMessage)}, nil
	})
}

// order gives a saga a person's order.
func (r *Orchestrator) order(ctx context.Context, id event.ID, input func(*flow) (machine.Input, error)) error {
	return r.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		row, err := load(ctx, tx, id, noDefinition)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			return fmt.Errorf("%w: %s", ErrUnknown, id)
		case err != nil:
			return err
		case r.find(row.kind, row.edition) == nil:
			return fmt.Errorf("saga: version %d of %s is not defined here", row.edition, row.kind)
		}
		var refused error
		err = r.advance(ctx, tx, id, event.ID{}, func(f *flow) (machine.Input, bool) {
			x, err := input(f)
			refused = err
			return x, err == nil
		})
		return errors.Join(err, refused)
	})
}
