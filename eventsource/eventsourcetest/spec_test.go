package eventsourcetest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/eventsourcetest"
)

type (
	lampEvent interface{ lampEvent() }
	switched  struct{ On bool }
	leaky     struct {
		Kept int
		Lost int `json:"-"`
	}
)

func (switched) lampEvent() {}
func (leaky) lampEvent()    {}

var errSame = errors.New("it is so already")

var lamp = eventsource.Decider[bool, bool, lampEvent]{
	Category: "lamp",
	Codec:    event.NewCodec[lampEvent](event.Of[switched]("lamp.switched", 1), event.Of[leaky]("lamp.leaked", 1)),
	Evolve: func(on bool, e lampEvent) bool {
		if s, ok := e.(switched); ok {
			return s.On
		}
		return on
	},
	Decide: func(on, want bool) ([]lampEvent, error) {
		if on == want {
			return nil, errSame
		}
		return []lampEvent{switched{want}}, nil
	},
}

// recorder notes what a failing example reports.
type recorder struct {
	testing.TB
	reported []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, a ...any) {
	r.reported = append(r.reported, fmt.Sprintf(format, a...))
}

func TestAnExampleThatHoldsReportsNothing(t *testing.T) {
	spec := eventsourcetest.For(t, lamp)
	spec.Given().When(true).Then(switched{true})
	spec.Given(switched{true}).When(true).ThenError(errSame)
	spec.Given(switched{true}, switched{false}).ThenState(func(on bool) {
		if on {
			t.Error("it is on")
		}
	})
}

func TestAnExampleThatDoesNotHoldReportsWhatHappened(t *testing.T) {
	for name, c := range map[string]struct {
		run  func(sp *eventsourcetest.Spec[bool, bool, lampEvent])
		want string
	}{
		"another event": {func(sp *eventsourcetest.Spec[bool, bool, lampEvent]) { sp.Given().When(true).Then(switched{false}) },
			`got eventsourcetest_test.switched{"On":true}`},
		"no event": {func(sp *eventsourcetest.Spec[bool, bool, lampEvent]) { sp.Given().When(true).Then() },
			"want nothing"},
		"an error for an event": {func(sp *eventsourcetest.Spec[bool, bool, lampEvent]) { sp.Given().When(false).Then(switched{false}) },
			`got the error "it is so already"`},
		"an event for an error": {func(sp *eventsourcetest.Spec[bool, bool, lampEvent]) { sp.Given().When(true).ThenError(errSame) },
			"want the error"},
		"another error": {func(sp *eventsourcetest.Spec[bool, bool, lampEvent]) {
			sp.Given().When(false).ThenError(errors.ErrUnsupported)
		},
			"want"},
		"an error for a state": {func(sp *eventsourcetest.Spec[bool, bool, lampEvent]) { sp.Given().When(false).ThenState(func(bool) {}) },
			"got the error"},
		"a field that is lost": {func(sp *eventsourcetest.Spec[bool, bool, lampEvent]) {
			sp.Given(leaky{1, 2}).When(true).Then(switched{true})
		},
			"is not what it was after recording"},
	} {
		r := &recorder{TB: t}
		c.run(eventsourcetest.For(r, lamp))
		if len(r.reported) == 0 || !strings.Contains(strings.Join(r.reported, "\n"), c.want) {
			t.Errorf("%s: reported %q, want %q in it", name, r.reported, c.want)
		}
	}
}
