package saga

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/cleave-go/cleave/saga/internal/machine"
)

// Dry is a saga under way without bus, database and clock; package sagatest is
// built on it. Local steps are not carried out: their outcome is answered like
// that of commands.
type Dry[D any] struct {
	f       *flow
	pending []Action
}

// Action is what a saga asks for.
type Action struct {
	Step     string
	Undo     bool
	Service  string // "": in place
	Command  string
	Request  json.RawMessage
	sequence int
}

func (a Action) String() string {
	switch {
	case a.Service != "":
		return a.Service + "/" + a.Command
	case a.Undo:
		return "undo " + a.Step
	default:
		return a.Step
	}
}

// Dry starts the saga with data and returns it.
func (s *Saga[D]) Dry(data D) (*Dry[D], error) {
	raw, err := encode("the data of "+s.d.name, data)
	if err != nil {
		return nil, err
	}
	f, err := s.d.flow(row{kind: s.d.name, data: raw})
	if err != nil {
		return nil, err
	}
	d := &Dry[D]{f: f}
	return d, d.feed(machine.Input{Kind: machine.Start})
}

func (d *Dry[D]) feed(x machine.Input) error {
	in, effects := d.f.d.plan.Next(d.f.row.in, x, d.f.now)
	d.f.row.in = in
	for _, e := range effects {
		s := d.f.d.steps[e.Step]
		a := Action{Step: s.name, Undo: e.Undo, sequence: e.Command}
		if e.Command != 0 {
			service, command, req := s.message(d.f, e.Undo)
			raw, err := encode("command "+command, req())
			if err != nil {
				return err
			}
			a.Service, a.Command, a.Request = service, command, raw
		}
		d.forget(a)
		d.pending = append(d.pending, a)
	}
	return nil
}

// Pending returns what was asked for and not answered yet, oldest first.
func (d *Dry[D]) Pending() []Action { return slices.Clone(d.pending) }

// Answer answers a: done with reply when err is nil, else as a Handler's error
// would.
func (d *Dry[D]) Answer(a Action, reply any, err error) error {
	d.forget(a)
	x := outcome(err)
	x.Command = a.sequence
	if x.Kind == machine.Done && a.Service != "" && !a.Undo && x.Command == d.f.row.in.Awaiting {
		raw, err := encode("the reply to "+a.Command, reply)
		if err != nil {
			return err
		}
		if err := d.f.accept(raw); err != nil {
			return err
		}
	}
	return d.feed(x)
}

func (d *Dry[D]) forget(a Action) {
	d.pending = slices.DeleteFunc(d.pending, func(b Action) bool { return b.sequence == a.sequence && b.Undo == a.Undo && b.Step == a.Step })
}

// Pass lets time pass, firing the timers that come due on the way. It stops at
// an action in place, whose outcome is known at once.
func (d *Dry[D]) Pass(t time.Duration) error {
	end := d.f.now.Add(t)
	for due := d.f.row.in.Due; !due.IsZero() && !due.After(end) && !d.inPlace(); due = d.f.row.in.Due {
		d.f.now = due
		if err := d.feed(machine.Input{Kind: machine.Tick}); err != nil {
			return err
		}
	}
	d.f.now = end
	return nil
}

func (d *Dry[D]) inPlace() bool {
	return slices.ContainsFunc(d.pending, func(a Action) bool { return a.Service == "" })
}

// Status returns how the saga stands.
func (d *Dry[D]) Status() Status {
	st := d.f.row.status()
	st.Step = d.f.d.steps[d.f.row.in.Step].name
	return st
}

// Data returns the saga's data.
func (d *Dry[D]) Data() D { return *d.f.data.(*D) }

// Change changes the data, as a local step would.
func (d *Dry[D]) Change(f func(*D)) error {
	f(d.f.data.(*D))
	return d.f.keep()
}
