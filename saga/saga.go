package saga

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/cleave-go/cleave/saga/internal/machine"
	"github.com/cleave-go/cleave/sqldb"
)

// Endpoint is a command that a participant answers: Req and Rep travel as
// JSON. The participant's api package exports it.
type Endpoint[Req, Rep any] struct{ Service, Command string }

// Step is one step of a saga over data D. Its methods return a changed copy.
type Step[D any] struct{ step }

// step is a Step without its type; data is always a *D.
type step struct {
	name     string
	service  string // "": in place
	command  string
	do       func(ctx context.Context, tx sqldb.Tx, data any) error
	request  func(data any) any
	got      func(data any, reply json.RawMessage) error
	undo     undo
	timeout  time.Duration
	pivot    bool
	readOnly bool
}

type undo struct {
	kind             machine.Undo
	service, command string
	do               func(ctx context.Context, tx sqldb.Tx, data any, why Failure) error
	request          func(data any, why Failure) any
}

// Local is a step in the service's own transaction. A *Refusal that do returns
// starts the compensation; any other error is tried again with back-off. What
// do wrote is taken back when it returns an error. A nil do changes nothing: a
// first step of that kind only carries the undo of what the caller of Start
// did.
func Local[D any](name string, do func(ctx context.Context, tx sqldb.Tx, d *D) error) Step[D] {
	s := step{name: name, do: func(context.Context, sqldb.Tx, any) error { return nil }}
	if do != nil {
		s.do = func(ctx context.Context, tx sqldb.Tx, data any) error { return do(ctx, tx, data.(*D)) }
	}
	return Step[D]{s}
}

// Call is a step that a participant carries out. req makes the command of the
// data; got, if not nil, keeps in it what the reply says.
func Call[D, Req, Rep any](name string, ep Endpoint[Req, Rep], req func(d *D) Req, got func(d *D, rep Rep)) Step[D] {
	s := step{name: name, service: ep.Service, command: ep.Command}
	if req != nil {
		s.request = func(data any) any { return req(data.(*D)) }
	}
	s.got = func(data any, reply json.RawMessage) error {
		if got == nil {
			return nil
		}
		var rep Rep
		if err := json.Unmarshal(reply, &rep); err != nil {
			return fmt.Errorf("the reply to %s does not fit: %w", ep.Command, err)
		}
		got(data.(*D), rep)
		return nil
	}
	return Step[D]{s}
}

// Undo is how a step is compensated: Locally or by Command.
type Undo[D any] struct{ undo }

// Locally undoes a local step in the service's own transaction. An error is
// tried again with back-off until it works.
func Locally[D any](do func(ctx context.Context, tx sqldb.Tx, d *D, why Failure) error) Undo[D] {
	return Undo[D]{undo{kind: machine.LocalUndo,
		do: func(ctx context.Context, tx sqldb.Tx, data any, why Failure) error {
			return do(ctx, tx, data.(*D), why)
		}}}
}

// Command undoes a called step by another command to the same service. It is
// sent until it is done, so the participant must not refuse it; and it must
// answer done when there is nothing to undo, because a step that timed out is
// undone whether or not it was carried out.
func Command[D, Req, Rep any](ep Endpoint[Req, Rep], req func(d *D, why Failure) Req) Undo[D] {
	return Undo[D]{undo{kind: machine.CallUndo, service: ep.Service, command: ep.Command,
		request: func(data any, why Failure) any { return req(data.(*D), why) }}}
}

// Undo says how the step is compensated. The pivot has one only for its
// timeout, a step behind the pivot none.
func (s Step[D]) Undo(u Undo[D]) Step[D] { s.step.undo = u.undo; return s }

// Timeout starts the compensation when the step is not done within d, counted
// from its first attempt. The step's own undo is sent at once and the others
// go on beside it. Default: the saga waits for ever.
func (s Step[D]) Timeout(d time.Duration) Step[D] { s.timeout = d; return s }

// Pivot makes the step the point of no return: once it is done the steps
// behind it are tried until they are done. Default: the last step.
func (s Step[D]) Pivot() Step[D] { s.pivot = true; return s }

// ReadOnly says that the step changes nothing and so needs no Undo.
func (s Step[D]) ReadOnly() Step[D] { s.readOnly = true; return s }

// Policy holds the pauses of a saga. A zero field has its default.
type Policy struct {
	Backoff    time.Duration // the first pause after "not yet" or a failure; it doubles. Default: 25 ms
	MaxBackoff time.Duration // Default: 5 s
	Resend     time.Duration // the first pause before an unanswered command is sent again; it doubles. Default: 30 s
	MaxResend  time.Duration // Default: 5 min
	StuckAfter int           // attempts at one action before the saga is listed as stuck. Default: 10
}

// Saga is a definition, to be started any number of times. It is immutable and
// safe for concurrent use.
type Saga[D any] struct{ d *definition }

// Definition is any *Saga[D].
type Definition interface{ definition() *definition }

// definition is a Saga without its type.
type definition struct {
	name    string
	edition int
	steps   []step
	plan    machine.Plan
	zero    func() any // a new *D
}

func (s *Saga[D]) definition() *definition { return s.d }

// Define makes a saga of its steps, in their order. Names of sagas and steps
// are kept with the running sagas: do not change them while some are under way.
//
// It panics, at start-up, when the steps do not make a saga: when a changing
// step before the pivot has no undo, a step behind it has an undo or a timeout,
// or a step with a timeout could be carried out later and has no undo.
func Define[D any](name string, steps ...Step[D]) *Saga[D] {
	d := &definition{name: name, zero: func() any { return new(D) }}
	for _, s := range steps {
		d.steps = append(d.steps, s.step)
	}
	if err := d.check(); err != nil {
		panic(fmt.Sprintf("saga: %s: %v", name, err))
	}
	d.plan = d.newPlan(Policy{})
	return &Saga[D]{d}
}

// With returns the saga with other pauses.
func (s *Saga[D]) With(p Policy) *Saga[D] {
	d := *s.d
	d.plan = d.newPlan(p)
	return &Saga[D]{&d}
}

// Version returns the saga as a definition of that version; Define makes version
// 0. A saga under way goes on by the version that it was started with: give the
// Orchestrator that one too, until none of it is left. Versions of one name
// share their keys.
func (s *Saga[D]) Version(n int) *Saga[D] {
	d := *s.d
	d.edition = n
	return &Saga[D]{&d}
}

// Name returns the saga's name.
func (s *Saga[D]) Name() string { return s.d.name }
