package saga

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/sqldb"
)

// Status is how a saga stands.
type Status struct {
	ID       event.ID
	Saga     string
	Version  int // of the definition it was started with
	Key      string
	State    State
	Step     string  // in hand, or the last one
	Attempts int     // at the step in hand
	Stuck    bool    // after Policy.StuckAfter attempts; it is still tried
	Error    string  // of the last attempt at the step in hand
	Failure  Failure // why it is or was undone; zero when it is not
	Due      time.Time
	Started  time.Time
	Updated  time.Time
}

func (r row) status() Status {
	return Status{ID: r.id, Saga: r.kind, Version: r.edition, Key: r.key, State: states[r.in.State], Step: r.stepName, Attempts: r.in.Attempts,
		Stuck: r.in.Stuck, Error: r.in.Error, Failure: Failure(r.in.Failure), Due: r.in.Due, Started: r.started, Updated: r.updated}
}

// Find returns how the saga started with key stands, ErrUnknown when there is
// none. q is the service's database or a transaction on it.
func (s *Saga[D]) Find(ctx context.Context, q sqldb.Queryer, key string) (Status, error) {
	return find(ctx, q, s.d, key)
}

func find(ctx context.Context, q sqldb.Queryer, d *definition, key string) (Status, error) {
	r, err := scan(q.QueryRowContext(ctx, `SELECT `+columns+` FROM saga_instance WHERE kind = ? AND key = ?`, d.name, key), noDefinition)
	if errors.Is(err, sql.ErrNoRows) {
		return Status{}, fmt.Errorf("%w: %s %s", ErrUnknown, d.name, key)
	}
	return r.status(), err
}

func noDefinition(string, int) *definition { return nil }
