package eventsource_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/memstore"
)

func TestARepositoryThatCannotWorkPanicsAtStart(t *testing.T) {
	good := Decider
	st := memstore.New()
	for name, c := range map[string]struct {
		store  eventsource.Store
		change func(*eventsource.Decider[State, Command, Event])
		want   string
	}{
		"no store":       {nil, func(*eventsource.Decider[State, Command, Event]) {}, "Store"},
		"no codec":       {st, func(d *eventsource.Decider[State, Command, Event]) { d.Codec = nil }, "Codec"},
		"no Evolve":      {st, func(d *eventsource.Decider[State, Command, Event]) { d.Evolve = nil }, "Evolve"},
		"no category":    {st, func(d *eventsource.Decider[State, Command, Event]) { d.Category = "" }, "category"},
		"a bad category": {st, func(d *eventsource.Decider[State, Command, Event]) { d.Category = "a b" }, "category"},
	} {
		func() {
			defer func() {
				if got, _ := recover().(string); !strings.Contains(got, c.want) {
					t.Errorf("%s: panicked with %q", name, got)
				}
			}()
			d := good
			c.change(&d)
			eventsource.NewRepository(c.store, d)
		}()
	}
}

func TestHandleWithoutDecideAndBadIDsAreErrors(t *testing.T) {
	d := Decider
	d.Decide = nil
	if _, err := eventsource.NewRepository(memstore.New(), d).Handle(t.Context(), "1", Open{}); err == nil || !strings.Contains(err.Error(), "Do") {
		t.Errorf("got %v", err)
	}
	if _, err := eventsource.NewRepository(memstore.New(), Decider).Handle(t.Context(), "", Open{}); err == nil || !strings.Contains(err.Error(), "ID") {
		t.Errorf("got %v", err)
	}
}

func TestAConflictIsReadable(t *testing.T) {
	s := event.Stream{Category: "account", ID: "1"}
	for want, x := range map[string]eventsource.Expect{
		"eventsource: account/1 is at version 3, expected version 2":          eventsource.At(2),
		"eventsource: account/1 is at version 3, expected no stream":          eventsource.NoStream,
		"eventsource: account/1 is at version 3, expected an existing stream": eventsource.Exists,
		"eventsource: account/1 is at version 3, expected any version":        eventsource.Any,
	} {
		err := error(&eventsource.ConflictError{Stream: s, Expected: x, Actual: 3})
		if err.Error() != want || !errors.Is(err, eventsource.ErrConflict) || errors.Is(err, eventsource.ErrDuplicate) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
