package saga

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cleave-go/cleave/saga/internal/machine"
)

const (
	maxSteps = 64
	maxName  = 100
)

// pivot returns the index of the point of no return.
func (d *definition) pivot() int {
	i := slices.IndexFunc(d.steps, func(s step) bool { return s.pivot })
	if i < 0 {
		return len(d.steps) - 1
	}
	return i
}

func (d *definition) check() error {
	if err := checkName("saga", d.name); err != nil {
		return err
	}
	if len(d.steps) == 0 || len(d.steps) > maxSteps {
		return fmt.Errorf("a saga has 1 to %d steps, not %d", maxSteps, len(d.steps))
	}
	seen, pivot := map[string]bool{}, d.pivot()
	for i, s := range d.steps {
		if err := checkName("step", s.name); err != nil {
			return err
		}
		if seen[s.name] {
			return fmt.Errorf("two steps are named %s", s.name)
		}
		seen[s.name] = true
		if s.pivot && i != pivot {
			return fmt.Errorf("both %s and %s are the pivot", d.steps[pivot].name, s.name)
		}
		if err := s.check(i, pivot); err != nil {
			return fmt.Errorf("step %s: %w", s.name, err)
		}
	}
	return nil
}

func (s step) check(i, pivot int) error {
	if s.do == nil {
		if err := errors.Join(checkName("service", s.service), checkName("command", s.command)); err != nil {
			return err
		}
		if s.request == nil {
			return errors.New("a call needs a function that makes its command")
		}
	}
	hasUndo := s.undo.kind != machine.NoUndo
	switch {
	case s.timeout < 0:
		return errors.New("a timeout is not negative")
	case hasUndo && s.readOnly:
		return errors.New("what changes nothing has nothing to undo")
	case i > pivot && hasUndo:
		return errors.New("behind the pivot nothing is undone")
	case i > pivot && s.timeout > 0:
		return errors.New("behind the pivot a step is tried until it is done, without a timeout")
	case i == pivot && hasUndo && s.timeout == 0:
		return errors.New("the pivot's undo is only for its timeout, and it has none")
	case i < pivot && !hasUndo && !s.readOnly:
		return errors.New("before the pivot a step has an undo, or is ReadOnly")
	case s.timeout > 0 && s.do == nil && !hasUndo && !s.readOnly:
		return errors.New("a call with a timeout may be carried out later: it needs an undo, or is ReadOnly")
	}
	return s.checkUndo()
}

func (s step) checkUndo() error {
	switch {
	case s.undo.kind == machine.LocalUndo && s.do == nil:
		return errors.New("a call is undone by a command")
	case s.undo.kind == machine.CallUndo && s.do != nil:
		return errors.New("a local step is undone locally")
	case s.undo.kind == machine.CallUndo && s.undo.service != s.service:
		return fmt.Errorf("its undo goes to %s and not, behind it, to %s", s.undo.service, s.service)
	case s.undo.kind == machine.CallUndo:
		return checkName("command", s.undo.command)
	}
	return nil
}

// checkName keeps names fit for a subject, a header and a log.
func checkName(what, s string) error {
	for _, r := range s {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
		default:
			return fmt.Errorf("the name of a %s has letters, digits, - _ and . only, not %q", what, s)
		}
	}
	if s == "" || len(s) > maxName {
		return fmt.Errorf("the name of a %s has 1 to %d characters: %q", what, maxName, s)
	}
	return nil
}

func (d *definition) newPlan(p Policy) machine.Plan {
	plan := machine.Plan{Pivot: d.pivot(), Policy: machine.Policy{
		Backoff:    cmp.Or(p.Backoff, 25*time.Millisecond),
		MaxBackoff: cmp.Or(p.MaxBackoff, 5*time.Second),
		Resend:     cmp.Or(p.Resend, 30*time.Second),
		MaxResend:  cmp.Or(p.MaxResend, 5*time.Minute),
		StuckAfter: cmp.Or(p.StuckAfter, 10),
	}}
	for _, s := range d.steps {
		plan.Steps = append(plan.Steps, machine.Step{Name: s.name, Call: s.do == nil, Undo: s.undo.kind, Timeout: s.timeout})
	}
	return plan
}

// index returns the step of that name, -1 when there is none.
func (d *definition) index(name string) int {
	return slices.IndexFunc(d.steps, func(s step) bool { return s.name == name })
}

// services returns the participants, each once, in order.
func (d *definition) services() []string {
	var list []string
	for _, s := range d.steps {
		if s.service != "" {
			list = append(list, s.service)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
