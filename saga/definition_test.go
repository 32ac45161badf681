package saga_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cleave-go/cleave/saga"
	"github.com/cleave-go/cleave/sqldb"
)

type data struct{ ID string }

var (
	do     = saga.Endpoint[string, string]{Service: "kitchen", Command: "do"}
	undo   = saga.Endpoint[string, string]{Service: "kitchen", Command: "undo"}
	astray = saga.Endpoint[string, string]{Service: "elsewhere", Command: "undo"}
)

func id(d *data) string                                       { return d.ID }
func why(d *data, _ saga.Failure) string                      { return d.ID }
func call(name string) saga.Step[data]                        { return saga.Call(name, do, id, nil) }
func local(name string) saga.Step[data]                       { return saga.Local[data](name, nil) }
func back[R any](ep saga.Endpoint[string, R]) saga.Undo[data] { return saga.Command(ep, why) }

var inPlace = saga.Locally(func(context.Context, sqldb.Tx, *data, saga.Failure) error { return nil })

func TestDefineSaysWhatIsWrong(t *testing.T) {
	tests := []struct {
		name  string
		steps []saga.Step[data]
		want  string // "": nothing
	}{
		{"a saga needs a step", nil, "1 to 64 steps"},
		{"the last step is the pivot and needs no undo", []saga.Step[data]{call("a").Undo(back(undo)), call("b")}, ""},
		{"a changing step before the pivot needs an undo", []saga.Step[data]{call("a"), call("b")}, "step a: before the pivot"},
		{"a local step before the pivot needs an undo too", []saga.Step[data]{local("a"), call("b")}, "step a: before the pivot"},
		{"a step that changes nothing needs none", []saga.Step[data]{call("a").ReadOnly(), call("b")}, ""},
		{"a step that changes nothing has none", []saga.Step[data]{call("a").ReadOnly().Undo(back(undo)), call("b")}, "nothing to undo"},
		{"nothing behind the pivot is undone", []saga.Step[data]{call("a").Pivot(), call("b").Undo(back(undo))}, "step b: behind the pivot"},
		{"nothing behind the pivot times out", []saga.Step[data]{call("a").Pivot(), call("b").Timeout(1)}, "step b: behind the pivot"},
		{"a timeout needs an undo", []saga.Step[data]{call("a").Timeout(1)}, "may be carried out later"},
		{"the pivot has an undo for its timeout", []saga.Step[data]{call("a").Timeout(1).Undo(back(undo))}, ""},
		{"the pivot has an undo only for its timeout", []saga.Step[data]{call("a").Undo(back(undo))}, "only for its timeout"},
		{"a check may time out", []saga.Step[data]{call("a").ReadOnly().Timeout(1), call("b")}, ""},
		{"a timeout is not negative", []saga.Step[data]{call("a").Timeout(-1)}, "not negative"},
		{"there is one pivot", []saga.Step[data]{call("a").Pivot(), call("b").Pivot()}, "both a and b"},
		{"names are unique", []saga.Step[data]{call("a").ReadOnly(), call("a")}, "two steps are named a"},
		{"names fit a subject", []saga.Step[data]{call("a b")}, "letters, digits"},
		{"names are there", []saga.Step[data]{call("")}, "1 to 100"},
		{"a call is undone by a command", []saga.Step[data]{call("a").Undo(inPlace), call("b")}, "undone by a command"},
		{"a local step is undone locally", []saga.Step[data]{local("a").Undo(back(undo)), call("b")}, "undone locally"},
		{"an undo goes where its command went", []saga.Step[data]{call("a").Undo(back(astray)), call("b")}, "elsewhere"},
		{"a call makes its command", []saga.Step[data]{saga.Call[data]("a", do, nil, nil)}, "makes its command"},
		{"an endpoint has a service", []saga.Step[data]{saga.Call("a", saga.Endpoint[string, string]{Command: "x"}, id, nil)}, "name of a service"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			defer func() {
				got := fmt.Sprint(recover())
				if tt.want == "" && got != "<nil>" || !strings.Contains(got, tt.want) {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}()
			saga.Define("s", tt.steps...)
		})
	}
}

func TestNewOrchestratorAndParticipantSayWhatIsWrong(t *testing.T) {
	s := saga.Define("s", call("a"))
	if _, err := saga.NewOrchestrator("order", nil, nil, nil, s, s.With(saga.Policy{Backoff: time.Second})); err == nil {
		t.Error("two sagas of one name")
	}
	if _, err := saga.NewOrchestrator("", nil, nil, nil, s); err == nil {
		t.Error("a service without a name")
	}
	h := saga.Handle(do, func(context.Context, sqldb.Tx, string) (string, error) { return "", nil })
	if _, err := saga.NewParticipant("kitchen", nil, nil, []string{"order"}, nil, h, h); err == nil {
		t.Error("two handlers of one command")
	}
	if _, err := saga.NewParticipant("accounting", nil, nil, []string{"order"}, nil, h); err == nil {
		t.Error("a command to another service")
	}
	if _, err := saga.NewParticipant("kitchen", nil, nil, []string{"a.>"}, nil, h); err == nil {
		t.Error("a caller's name that is a pattern")
	}
}

func TestARefusalIsFoundThroughWrapping(t *testing.T) {
	err := fmt.Errorf("authorize: %w", saga.Refuse("CARD_LIMIT", "over 500.00 USD"))
	var r *saga.Refusal
	if !errors.As(err, &r) || r.Code != "CARD_LIMIT" || r.Message != "over 500.00 USD" {
		t.Errorf("got %+v", r)
	}
}
