package eventsourcetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/cleave-go/cleave/eventsource"
)

// Spec is one example of a decider's behaviour.
type Spec[S, C, E any] struct {
	t       testing.TB
	decider eventsource.Decider[S, C, E]
	past    []E
	command *C
}

// For binds the types once, so that Given(Placed{}) needs no conversion to the
// sealed interface.
func For[S, C, E any](t testing.TB, d eventsource.Decider[S, C, E]) *Spec[S, C, E] {
	return &Spec[S, C, E]{t: t, decider: d}
}

// Given begins an example: the aggregate's past.
func (sp *Spec[S, C, E]) Given(past ...E) *Spec[S, C, E] {
	return &Spec[S, C, E]{t: sp.t, decider: sp.decider, past: past}
}

// When says what is asked.
func (sp *Spec[S, C, E]) When(command C) *Spec[S, C, E] {
	next := *sp
	next.command = &command
	return &next
}

// Then fails the test unless exactly these events happen. None means that
// nothing does.
func (sp *Spec[S, C, E]) Then(want ...E) {
	sp.t.Helper()
	got, err := sp.decide()
	if err != nil {
		sp.t.Errorf("%s: got the error %q, want %s", sp, err, show(want))
		return
	}
	got, want = sp.recorded(got), sp.recorded(want)
	if len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		sp.t.Errorf("%s:\n got %s\nwant %s", sp, show(got), show(want))
	}
}

// ThenError fails the test unless the command is refused with target, as
// errors.Is sees it.
func (sp *Spec[S, C, E]) ThenError(target error) {
	sp.t.Helper()
	got, err := sp.decide()
	switch {
	case err == nil:
		sp.t.Errorf("%s: got %s, want the error %q", sp, show(got), target)
	case !errors.Is(err, target):
		sp.t.Errorf("%s: got the error %q, want %q", sp, err, target)
	}
}

// ThenState gives the state after the past and what the command made of it to
// check. Without When it is the state after the past.
func (sp *Spec[S, C, E]) ThenState(check func(S)) {
	sp.t.Helper()
	state := sp.state(sp.past)
	if sp.command != nil {
		events, err := sp.decide()
		if err != nil {
			sp.t.Errorf("%s: got the error %q", sp, err)
			return
		}
		for _, e := range sp.recorded(events) {
			state = sp.decider.Evolve(state, e)
		}
	}
	check(state)
}

func (sp *Spec[S, C, E]) decide() ([]E, error) {
	sp.t.Helper()
	if sp.command == nil {
		sp.t.Fatal("eventsourcetest: an example needs When before Then")
	}
	return sp.decider.Decide(sp.state(sp.past), *sp.command)
}

func (sp *Spec[S, C, E]) state(past []E) S {
	sp.t.Helper()
	state := sp.decider.Initial
	for _, e := range sp.recorded(past) {
		state = sp.decider.Evolve(state, e)
	}
	return state
}

// recorded returns events as they come back from a store, so that an example
// also fails when a field is lost on the way.
func (sp *Spec[S, C, E]) recorded(events []E) []E {
	sp.t.Helper()
	back := make([]E, 0, len(events))
	for _, e := range events {
		rec, err := sp.decider.Codec.Encode(e)
		if err != nil {
			sp.t.Fatalf("eventsourcetest: %v", err)
		}
		env, err := sp.decider.Codec.Decode(rec)
		if err != nil {
			sp.t.Fatalf("eventsourcetest: %v", err)
		}
		if !reflect.DeepEqual(env.Data, e) {
			sp.t.Errorf("eventsourcetest: %s is not what it was after recording:\nbefore %s\n after %s", rec.Type, show([]E{e}), show([]E{env.Data}))
		}
		back = append(back, env.Data)
	}
	return back
}

func (sp *Spec[S, C, E]) String() string {
	if sp.command == nil {
		return fmt.Sprintf("given %s", show(sp.past))
	}
	return fmt.Sprintf("given %s, when %T%+v", show(sp.past), *sp.command, *sp.command)
}

func show[E any](events []E) string {
	if len(events) == 0 {
		return "nothing"
	}
	text := ""
	for i, e := range events {
		if i > 0 {
			text += ", "
		}
		data, err := json.Marshal(e)
		if err != nil {
			data = fmt.Appendf(nil, "%+v", e)
		}
		text += fmt.Sprintf("%T%s", e, data)
	}
	return text
}
