package machine

import "time"

// Plan is a saga's steps without their data.
type Plan struct {
	Steps  []Step
	Pivot  int // the step after whose success nothing is undone
	Policy Policy
}

// Step is one step of a plan.
type Step struct {
	Name    string
	Call    bool // a command to a participant; otherwise carried out in place
	Undo    Undo
	Timeout time.Duration // at or before the pivot; 0: waits for ever
}

// Undo is how a step is compensated.
type Undo uint8

const (
	NoUndo    Undo = iota // the step changes nothing
	LocalUndo             // in place
	CallUndo              // by a command to a participant
)

// Policy holds the pauses.
type Policy struct {
	Backoff, MaxBackoff time.Duration // after an answer "not yet" or a failure; doubles
	Resend, MaxResend   time.Duration // when nobody answers; doubles
	StuckAfter          int           // attempts at one action until people are told
}

// State is where a saga is on its way.
type State uint8

const (
	Running State = iota
	Compensating
	Completed
	RolledBack
)

// Ended reports whether nothing follows any more.
func (s State) Ended() bool { return s == Completed || s == RolledBack }

// Failure is why a saga is undone.
type Failure struct {
	Step     string `json:"step"`
	Code     string `json:"code"`
	Message  string `json:"message,omitempty"`
	TimedOut bool   `json:"timedOut,omitempty"`
}

// Instance is one saga under way.
type Instance struct {
	State    State
	Step     int // being carried out, or being undone
	Seq      int // the last command number given out
	Awaiting int // the number of the command in hand; 0: the action is in place
	Sent     bool
	Attempts int       // at the action in hand
	Due      time.Time // when a Tick is wanted; zero: never
	Deadline time.Time // of the step in hand; zero: none
	Stuck    bool
	Error    string // of the last attempt
	Failure  Failure

	// A step that timed out: its undo runs beside the others.
	Late     int // the number of its undo's command; 0: none, or answered
	LateStep int
	LateSent bool
	Settling bool // only that undo is left
}

// Kind is what happened.
type Kind uint8

const (
	Start   Kind = iota
	Done         // the action was carried out
	Refused      // it was refused for good and changed nothing
	NotYet       // it was not carried out and changed nothing; try later
	Failed       // the same, for a technical reason
	Tick         // time has passed
	Resume       // somebody wants it tried again now
	GiveUp       // somebody wants it undone
)

// Input is what happened, to which command (0: to an action in place).
type Input struct {
	Kind          Kind
	Command       int
	Code, Message string
}

// Effect asks for an action: step's do or undo, by the command of the given
// number, or in place when the number is 0. An action in place is always the
// last effect, and its outcome the next input.
type Effect struct {
	Step    int
	Undo    bool
	Command int
}

// TimeoutCode is the Failure.Code of a step that was not answered in time.
const TimeoutCode = "TIMEOUT"

// Next returns what becomes of in when x happens at now, and what is to be
// done about it. An input that does not belong to the action in hand changes
// nothing.
func (p Plan) Next(in Instance, x Input, now time.Time) (Instance, []Effect) {
	r := run{p: p, in: in, now: now}
	switch {
	case in.State.Ended():
	case x.Kind == Start:
		r.enter(0)
	case x.Kind == Tick:
		r.tick()
	case x.Kind == Resume:
		r.in.Attempts, r.in.Stuck = 0, false
		r.attempt()
	case x.Kind == GiveUp && p.Revocable(in):
		r.giveUp(Failure{Step: r.name(), Code: x.Code, Message: x.Message})
	case in.Late != 0 && x.Command == in.Late && !in.Settling:
		r.late(x)
	case x.Command == in.Awaiting:
		r.answer(x)
	}
	return r.in, r.effects
}

// Revocable reports whether GiveUp leads back: the pivot is not done, nor is
// its command, that nothing would undo, on its way.
func (p Plan) Revocable(in Instance) bool {
	if in.State != Running || in.Step > p.Pivot {
		return false
	}
	step := p.Steps[in.Step]
	return in.Step < p.Pivot || in.Awaiting == 0 || step.Undo == CallUndo
}

// Awaits reports whether an answer to command number n matters to in.
func (in Instance) Awaits(n int) bool {
	return !in.State.Ended() && n != 0 && (n == in.Awaiting || n == in.Late)
}
