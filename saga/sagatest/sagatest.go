package sagatest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/saga"
)

// Spec is a saga under test.
type Spec[D any] struct {
	t   testing.TB
	dry *saga.Dry[D]
}

// For starts s with data, without database and bus.
func For[D any](t testing.TB, s *saga.Saga[D], data D) *Spec[D] {
	t.Helper()
	dry, err := s.Dry(data)
	if err != nil {
		t.Fatal(err)
	}
	return &Spec[D]{t, dry}
}

// Expect says that the command "service/command" is asked for now. What is
// expected of a timed out step's undo and of the next undo may come in any
// order.
func (s *Spec[D]) Expect(command string) *Expectation[D] {
	s.t.Helper()
	return s.expect(command)
}

// Local says that the local step of that name is asked for now. Its function
// is not called.
func (s *Spec[D]) Local(step string) *Expectation[D] {
	s.t.Helper()
	return s.expect(step)
}

// Undo says that the local undo of the step is asked for now. Its function is
// not called.
func (s *Spec[D]) Undo(step string) *Expectation[D] {
	s.t.Helper()
	return s.expect("undo " + step)
}

func (s *Spec[D]) expect(name string) *Expectation[D] {
	s.t.Helper()
	for _, a := range s.dry.Pending() {
		if a.String() == name {
			return &Expectation[D]{s, a}
		}
	}
	s.t.Fatalf("expected %s, the saga waits for %v (%s)", name, s.dry.Pending(), s.dry.Status().State)
	return nil
}

// After lets time pass: timeouts and repetitions happen on the way.
func (s *Spec[D]) After(d time.Duration) *Spec[D] {
	s.t.Helper()
	s.must(s.dry.Pass(d))
	return s
}

// Ended says that the saga has ended so, and waits for nothing. A command that
// was timed out may still be unanswered.
func (s *Spec[D]) Ended(want saga.State) *Spec[D] {
	s.t.Helper()
	if got := s.dry.Status().State; got != want {
		s.t.Fatalf("the saga is %s, expected %s; it waits for %v", got, want, s.dry.Pending())
	}
	return s
}

// Because says why the saga is or was undone: the step, and the code of its
// refusal or saga.TimeoutCode.
func (s *Spec[D]) Because(step, code string) *Spec[D] {
	s.t.Helper()
	if f := s.dry.Status().Failure; f.Step != step || f.Code != code {
		s.t.Fatalf("the saga is undone because of %s %s, expected %s %s", f.Step, f.Code, step, code)
	}
	return s
}

// Data lets check look at the saga's data.
func (s *Spec[D]) Data(check func(d D)) *Spec[D] {
	check(s.dry.Data())
	return s
}

func (s *Spec[D]) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// Expectation is an action that was asked for, to be answered.
type Expectation[D any] struct {
	spec   *Spec[D]
	action saga.Action
}

// With says what the command carries.
func (e *Expectation[D]) With(req any) *Expectation[D] {
	e.spec.t.Helper()
	raw, err := json.Marshal(req)
	e.spec.must(err)
	var got, want any
	e.spec.must(errors.Join(json.Unmarshal(e.action.Request, &got), json.Unmarshal(raw, &want)))
	if !reflect.DeepEqual(got, want) {
		e.spec.t.Fatalf("%s carries %s, expected %s", e.action, e.action.Request, raw)
	}
	return e
}

// Change changes the data as the local step's function would.
func (e *Expectation[D]) Change(f func(d *D)) *Expectation[D] {
	e.spec.t.Helper()
	e.spec.must(e.spec.dry.Change(f))
	return e
}

// Done answers that it was carried out.
func (e *Expectation[D]) Done() *Spec[D] { e.spec.t.Helper(); return e.Reply(struct{}{}) }

// Reply answers that it was carried out, with rep.
func (e *Expectation[D]) Reply(rep any) *Spec[D] { e.spec.t.Helper(); return e.answer(rep, nil) }

// Refuse answers that it was refused.
func (e *Expectation[D]) Refuse(code, message string) *Spec[D] {
	e.spec.t.Helper()
	return e.answer(nil, saga.Refuse(code, message))
}

// NotYet answers that it cannot be carried out yet.
func (e *Expectation[D]) NotYet() *Spec[D] { e.spec.t.Helper(); return e.answer(nil, bus.ErrNotYet) }

// Fail answers with a technical error.
func (e *Expectation[D]) Fail() *Spec[D] {
	e.spec.t.Helper()
	return e.answer(nil, fmt.Errorf("%s failed", e.action))
}

func (e *Expectation[D]) answer(rep any, err error) *Spec[D] {
	e.spec.t.Helper()
	e.spec.must(e.spec.dry.Answer(e.action, rep, err))
	return e.spec
}
