package saga

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/saga/internal/machine"
	"github.com/cleave-go/cleave/sqldb"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Setup creates the tables of sagas and participants where they are missing.
func Setup(ctx context.Context, db *sqldb.DB) error {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	return db.Migrate(ctx, files)
}

// row is a saga as it is stored.
type row struct {
	id       event.ID
	kind     string
	edition  int // of the definition that it was started with
	key      string
	version  int64
	in       machine.Instance
	data     json.RawMessage
	meta     event.Meta
	started  time.Time
	updated  time.Time
	stepName string
}

// progress is the part of machine.Instance that has no column of its own.
type progress struct {
	Seq      int              `json:"seq"`
	Awaiting int              `json:"awaiting,omitempty"`
	Sent     bool             `json:"sent,omitempty"`
	Attempts int              `json:"attempts,omitempty"`
	Due      time.Time        `json:"due,omitzero"` // due_at moves before a timer fires, this does not
	Deadline time.Time        `json:"deadline,omitzero"`
	Failure  *machine.Failure `json:"failure,omitempty"`
	Late     int              `json:"late,omitempty"`
	LateStep string           `json:"lateStep,omitempty"`
	LateSent bool             `json:"lateSent,omitempty"`
	Settling bool             `json:"settling,omitempty"`
}

const columns = `id, kind, definition, key, version, state, step, data, progress, meta, stuck, error, started_at, updated_at`

// conflictError says that somebody else advanced the saga meanwhile.
type conflictError struct{ id event.ID }

func (e conflictError) Error() string { return "saga: " + e.id.String() + " was advanced meanwhile" }

// scan reads a row. find resolves its steps' names: it returns nil for a saga
// this program does not know, whose step numbers then mean nothing.
func scan(s interface{ Scan(...any) error }, find func(kind string, edition int) *definition) (row, error) {
	var (
		r                row
		id, state        string
		data, prog, meta []byte
		started, updated int64
	)
	if err := s.Scan(&id, &r.kind, &r.edition, &r.key, &r.version, &state, &r.stepName, &data, &prog, &meta,
		&r.in.Stuck, &r.in.Error, &started, &updated); err != nil {
		return row{}, err
	}
	var p progress
	parsed, err := event.ParseID(id)
	if err := errors.Join(err, json.Unmarshal(prog, &p), json.Unmarshal(meta, &r.meta)); err != nil {
		return row{}, fmt.Errorf("saga: %s: %w", id, err)
	}
	r.id, r.data = parsed, data
	r.started, r.updated = time.UnixMilli(started).UTC(), time.UnixMilli(updated).UTC()
	if r.in.State, err = stateOf(State(state)); err != nil {
		return row{}, err
	}
	p.into(&r.in)
	if d := find(r.kind, r.edition); d != nil {
		r.in.Step, r.in.LateStep = d.index(r.stepName), max(d.index(p.LateStep), 0)
		if r.in.Step < 0 || p.LateStep != "" && d.index(p.LateStep) < 0 {
			return r, fmt.Errorf("saga: %s %s is at step %s, which it does not have any more", r.kind, r.key, r.stepName)
		}
	}
	return r, nil
}

func (p progress) into(in *machine.Instance) {
	in.Seq, in.Awaiting, in.Sent, in.Attempts = p.Seq, p.Awaiting, p.Sent, p.Attempts
	in.Due, in.Deadline, in.Late, in.LateSent, in.Settling = p.Due, p.Deadline, p.Late, p.LateSent, p.Settling
	if p.Failure != nil {
		in.Failure = *p.Failure
	}
}

func (r *row) progress(d *definition) progress {
	in := r.in
	p := progress{Seq: in.Seq, Awaiting: in.Awaiting, Sent: in.Sent, Attempts: in.Attempts, Due: in.Due, Deadline: in.Deadline,
		Late: in.Late, LateSent: in.LateSent, Settling: in.Settling}
	if in.Late != 0 {
		p.LateStep = d.steps[in.LateStep].name
	}
	if in.Failure.Code != "" {
		p.Failure = &in.Failure
	}
	return p
}

// load reads a saga by id; sql.ErrNoRows when there is none.
func load(ctx context.Context, q sqldb.Queryer, id event.ID, find func(string, int) *definition) (row, error) {
	return scan(q.QueryRowContext(ctx, `SELECT `+columns+` FROM saga_instance WHERE id = ?`, id.String()), find)
}

// save writes r, as a new row when its version is 0.
func (r *row) save(ctx context.Context, tx sqldb.Tx, d *definition) error {
	prog, err1 := json.Marshal(r.progress(d))
	meta, err2 := json.Marshal(r.meta)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	due := sql.NullInt64{Int64: r.in.Due.UnixMilli(), Valid: !r.in.Due.IsZero()}
	stuck := 0
	if r.in.Stuck {
		stuck = 1
	}
	step, state := d.steps[r.in.Step].name, string(states[r.in.State])
	if r.version == 0 {
		_, err := tx.ExecContext(ctx, `INSERT INTO saga_instance (`+columns+`, due_at) VALUES (?, ?, ?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			r.id.String(), r.kind, r.edition, r.key, state, step, string(r.data), string(prog), string(meta), stuck, r.in.Error,
			r.started.UnixMilli(), r.updated.UnixMilli(), due)
		return err
	}
	res, err := tx.ExecContext(ctx, `UPDATE saga_instance SET version = version + 1, state = ?, step = ?, data = ?, progress = ?, stuck = ?, error = ?,
		updated_at = ?, due_at = ? WHERE id = ? AND version = ?`,
		state, step, string(r.data), string(prog), stuck, r.in.Error, r.updated.UnixMilli(), due, r.id.String(), r.version)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n != 1 {
		return errors.Join(err, conflictError{r.id})
	}
	return nil
}
