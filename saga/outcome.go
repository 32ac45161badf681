package saga

import (
	"errors"
	"fmt"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/saga/internal/machine"
)

// Failure is why a saga is undone.
type Failure struct {
	Step     string `json:"step"`
	Code     string `json:"code"` // the Refusal's, or TimeoutCode
	Message  string `json:"message,omitempty"`
	TimedOut bool   `json:"timedOut,omitempty"`
}

// TimeoutCode is the Code of a step that was not done within its Timeout.
const TimeoutCode = machine.TimeoutCode

// Refusal is an answer for good: the step was not carried out, changed nothing
// and will not be. The code is for programs, the message for people; both
// travel.
type Refusal struct{ Code, Message string }

// Refuse returns a *Refusal.
func Refuse(code, message string) error { return &Refusal{code, message} }

func (r *Refusal) Error() string { return fmt.Sprintf("refused: %s: %s", r.Code, r.Message) }

// ErrNotYet is what a Handler or a local step returns when something it needs
// has not arrived yet: it is asked again soon. It is bus.ErrNotYet.
var ErrNotYet = bus.ErrNotYet

// ErrUnknown says that there is no such saga.
var ErrUnknown = errors.New("saga: unknown")

// State is how far a saga is.
type State string

// The states of a saga. The last two are final.
const (
	Running      State = "running"
	Compensating State = "compensating"
	Completed    State = "completed"
	RolledBack   State = "rolled-back"
)

// Ended reports whether nothing follows any more.
func (s State) Ended() bool { return s == Completed || s == RolledBack }

var states = [...]State{machine.Running: Running, machine.Compensating: Compensating, machine.Completed: Completed, machine.RolledBack: RolledBack}

func stateOf(s State) (machine.State, error) {
	for m, name := range states {
		if name == s {
			return machine.State(m), nil
		}
	}
	return 0, fmt.Errorf("saga: no such state: %q", s)
}
