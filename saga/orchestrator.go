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

// Options adjust an Orchestrator or a Participant. Nil means the defaults.
type Options struct {
	Logger *slog.Logger // Default: slog.Default()
	// OnError is for a command or reply that cannot be handled, and holds up
	// those of other sagas: answers of handlers, and errors of steps, are none of
	// these. Default: it is tried for ever.
	OnError bus.Policy
}

func (o *Options) onError() bus.Policy {
	if o == nil {
		return bus.Policy{}
	}
	return o.OnError
}

func (o *Options) logger() *slog.Logger {
	if o == nil || o.Logger == nil {
		return slog.Default()
	}
	return o.Logger
}

// Orchestrator carries a service's sagas on: it takes the participants'
// replies and keeps the time. Several processes of the service may run one on
// the same database.
type Orchestrator struct {
	service string
	db      *sqldb.DB
	bus     bus.Bus
	log     *slog.Logger
	onError bus.Policy
	sagas   map[edition]*definition
	timers  timers
}

// edition names a version of a saga's definition.
type edition struct {
	name    string
	version int
}

// NewOrchestrator returns an orchestrator of the sagas that service defines.
// It starts nothing.
func NewOrchestrator(service string, db *sqldb.DB, b bus.Bus, o *Options, sagas ...Definition) (*Orchestrator, error) {
	if err := checkName("service", service); err != nil {
		return nil, fmt.Errorf("saga: %w", err)
	}
	r := &Orchestrator{service: service, db: db, bus: b, log: o.logger(), onError: o.onError(), sagas: map[edition]*definition{}}
	r.timers.init()
	for _, s := range sagas {
		d := s.definition()
		e := edition{d.name, d.edition}
		if r.sagas[e] != nil {
			return nil, fmt.Errorf("saga: two sagas are named %s, version %d", d.name, d.edition)
		}
		r.sagas[e] = d
	}
	return r, nil
}

// Run creates the tables if need be, follows the replies of all participants
// and fires timers, until ctx ends. Sagas that were under way when an earlier
// process died go on.
func (r *Orchestrator) Run(ctx context.Context) error {
	if err := Setup(ctx, r.db); err != nil {
		return err
	}
	var runs []func(context.Context) error
	for _, service := range r.services() {
		runs = append(runs, r.consumer(service).Run)
	}
	return together(ctx, append(runs, r.runTimers)...)
}

// together runs all until the first error or the end of ctx.
func together(ctx context.Context, runs ...func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, run := range runs {
		wg.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// services returns the participants of all sagas.
func (r *Orchestrator) services() []string {
	var list []string
	for _, d := range r.sagas {
		list = append(list, d.services()...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (r *Orchestrator) consumer(service string) *bus.Consumer {
	return &bus.Consumer{
		Name: "saga-replies", DB: r.db, Bus: r.bus, Logger: r.log, Handle: r.handle, OnError: r.onError,
		Filter: bus.Filter{Source: service, Subjects: []string{"rpl." + r.service + ".>"}},
	}
}

// handle takes a reply. One that nobody awaits changes nothing.
func (r *Orchestrator) handle(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
	id, err1 := event.ParseID(m.Stream.ID)
	command, err2 := event.ParseID(m.Meta.Causation)
	var rep reply
	if err := errors.Join(err1, err2, json.Unmarshal(m.Data, &rep)); err != nil {
		r.log.Error("saga: a reply that is none was left out", "source", m.Source, "position", m.Place.Position, "error", err)
		return nil
	}
	return r.advance(ctx, tx, id, m.ID, func(f *flow) (machine.Input, bool) {
		n := f.number(command)
		if n == 0 {
			r.log.Debug("saga: a reply came late or twice", "saga", f.d.name, "key", f.row.key, "command", m.Type, "outcome", rep.Outcome)
			return machine.Input{}, false
		}
		return f.take(n, rep), true
	})
}

// number returns the number of the command with that id if its answer matters.
func (f *flow) number(command event.ID) int {
	for _, n := range []int{f.row.in.Awaiting, f.row.in.Late} {
		if f.row.in.Awaits(n) && commandID(f.row.id, n) == command {
			return n
		}
	}
	return 0
}

// take makes an input of the reply to command number n.
func (f *flow) take(n int, rep reply) machine.Input {
	x := machine.Input{Kind: machine.Failed, Command: n, Code: clip(rep.Code, maxCode), Message: clip(rep.Message, maxMessage)}
	switch rep.Outcome {
	case outcomeDone:
		x.Kind = machine.Done
		if f.row.in.State == machine.Running {
			if err := f.accept(rep.Data); err != nil {
				x.Kind, x.Message = machine.Failed, clip(err.Error(), maxMessage)
			}
		}
	case outcomeRefused:
		x.Kind = machine.Refused
	case outcomeNotYet:
		x.Kind = machine.NotYet
	default:
		x.Message = fmt.Sprintf("the reply's outcome is %q", rep.Outcome)
	}
	return x
}

// advance loads the saga, feeds it what input returns, and stores it.
func (r *Orchestrator) advance(ctx context.Context, tx sqldb.Tx, id, cause event.ID, input func(*flow) (machine.Input, bool)) error {
	row, err := load(ctx, tx, id, r.find)
	if errors.Is(err, sql.ErrNoRows) {
		r.log.Warn("saga: a reply to a saga that is not there", "id", id)
		return nil
	}
	d := r.find(row.kind, row.edition)
	if d == nil && err == nil {
		// Another version of this service knows it; what it awaits it asks again.
		r.log.Warn("saga: not defined here", "saga", row.kind, "version", row.edition, "key", row.key)
		return nil
	}
	var f *flow
	if err == nil {
		f, err = d.flow(row)
	}
	if err != nil {
		return r.cannot(ctx, tx, id, err)
	}
	x, ok := input(f)
	if !ok {
		return nil
	}
	meta := f.row.meta
	if !cause.IsZero() {
		meta.Causation = cause.String()
	}
	if err := f.feed(event.WithMeta(ctx, meta), tx, x); err != nil {
		return err
	}
	if err := f.row.save(ctx, tx, d); err != nil {
		return err
	}
	r.report(row.in, f)
	return nil
}

func (r *Orchestrator) find(kind string, version int) *definition {
	return r.sagas[edition{kind, version}]
}

// cannot marks a saga that this program cannot carry on as stuck. It is tried
// again, by a version that can.
func (r *Orchestrator) cannot(ctx context.Context, tx sqldb.Tx, id event.ID, why error) error {
	if ctx.Err() != nil {
		return why
	}
	r.log.Error("saga: cannot be carried on", "id", id, "error", why)
	_, err := tx.ExecContext(ctx, `UPDATE saga_instance SET stuck = 1, error = ?, due_at = ? WHERE id = ?`,
		clip(why.Error(), maxMessage), time.Now().Add(retryUnreadable).UnixMilli(), id.String())
	return err
}

const retryUnreadable = time.Minute

// report tells of turns for the worse, and the timers of the next due time.
func (r *Orchestrator) report(before machine.Instance, f *flow) {
	in := f.row.in
	log := r.log.With("saga", f.d.name, "key", f.row.key, "id", f.row.id)
	if in.Stuck && !before.Stuck {
		log.Warn("saga: stuck", "step", f.d.steps[in.Step].name, "attempts", in.Attempts, "error", in.Error)
	}
	if in.State == machine.Compensating && before.State == machine.Running {
		log.Info("saga: is undone", "step", in.Failure.Step, "code", in.Failure.Code)
	}
	r.timers.expect(in.Due)
}
