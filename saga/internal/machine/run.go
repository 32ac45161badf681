package machine

import (
	"fmt"
	"time"
)

// run is one call of Next under way.
type run struct {
	p       Plan
	in      Instance
	now     time.Time
	effects []Effect
}

func (r *run) undoing() bool   { return r.in.State == Compensating }
func (r *run) revocable() bool { return !r.undoing() && r.in.Step <= r.p.Pivot }

// enter begins step i, or ends the saga behind the last one.
func (r *run) enter(i int) {
	if i >= len(r.p.Steps) {
		r.end(Completed)
		return
	}
	r.begin(i)
	if t := r.p.Steps[i].Timeout; t > 0 && r.revocable() {
		r.in.Deadline = r.now.Add(t)
	}
	r.attempt()
}

// begin makes step i the one in hand, with a clean slate.
func (r *run) begin(i int) {
	in := &r.in
	in.Step, in.Attempts, in.Stuck, in.Error = i, 0, false, ""
	in.Awaiting, in.Sent = 0, false
	in.Due, in.Deadline = time.Time{}, time.Time{}
}

func (r *run) end(s State) {
	r.begin(r.in.Step)
	r.in.State, r.in.Settling = s, false
}

// attempt asks for the action in hand.
func (r *run) attempt() {
	in := &r.in
	step := r.p.Steps[in.Step]
	call := step.Call
	if r.undoing() {
		call = step.Undo == CallUndo
	}
	if call {
		if in.Awaiting == 0 {
			in.Awaiting = r.number()
		}
		in.Sent = true
		r.wake(r.p.Policy.Resend, r.p.Policy.MaxResend, in.Attempts)
	}
	r.effects = append(r.effects, Effect{Step: in.Step, Undo: r.undoing(), Command: in.Awaiting})
}

func (r *run) number() int {
	r.in.Seq++
	return r.in.Seq
}

// wake sets Due to first, doubled n times, but not behind the deadline.
func (r *run) wake(first, most time.Duration, n int) {
	in := &r.in
	in.Due = r.now.Add(doubled(first, most, n))
	if !in.Deadline.IsZero() && in.Deadline.Before(in.Due) {
		in.Due = in.Deadline
	}
}

func doubled(d, most time.Duration, n int) time.Duration {
	for ; n > 0 && d < most; n-- {
		d *= 2
	}
	return min(d, most)
}

func (r *run) answer(x Input) {
	switch {
	case x.Kind == Done && r.in.Settling:
		r.end(RolledBack)
	case x.Kind == Done && r.undoing():
		r.retreat(r.in.Step - 1)
	case x.Kind == Done:
		r.enter(r.in.Step + 1)
	case x.Kind == Refused && r.revocable():
		r.compensate(r.in.Step-1, Failure{Step: r.name(), Code: x.Code, Message: x.Message})
	case x.Kind == Refused:
		// Behind the pivot, and when undoing, there is no way back. A refusal is
		// the stored answer of its command, so only a new one is asked again.
		if r.in.Awaiting != 0 {
			r.in.Awaiting = r.number()
		}
		r.pause(x)
	default:
		r.pause(x)
	}
}

// pause puts the action in hand off.
func (r *run) pause(x Input) {
	in := &r.in
	in.Sent = false
	in.Error = x.Message
	if x.Code != "" {
		in.Error = x.Code + ": " + x.Message
	}
	r.count()
	r.wake(r.p.Policy.Backoff, r.p.Policy.MaxBackoff, in.Attempts-1)
}

func (r *run) count() {
	r.in.Attempts++
	r.in.Stuck = r.in.Attempts >= r.p.Policy.StuckAfter
}

func (r *run) tick() {
	in := &r.in
	switch {
	case in.Due.IsZero() || r.now.Before(in.Due):
	case !in.Deadline.IsZero() && !r.now.Before(in.Deadline):
		r.timeout()
	default:
		if in.Sent { // nobody answered
			r.count()
		}
		r.attempt()
	}
}

func (r *run) timeout() {
	r.giveUp(Failure{Step: r.name(), Code: TimeoutCode, TimedOut: true, Message: r.timeoutMessage()})
}

// giveUp gives up the step in hand. Its command may still be carried out.
func (r *run) giveUp(why Failure) {
	in := &r.in
	if in.Awaiting != 0 && r.p.Steps[in.Step].Undo == CallUndo {
		in.Late, in.LateStep, in.LateSent = r.number(), in.Step, true
		r.effects = append(r.effects, Effect{Step: in.Step, Undo: true, Command: in.Late})
	}
	r.compensate(in.Step-1, why)
}

func (r *run) timeoutMessage() string {
	m := fmt.Sprintf("step %s was not done within %v", r.name(), r.p.Steps[r.in.Step].Timeout)
	if r.in.Error != "" {
		m += ": " + r.in.Error
	}
	return m
}

func (r *run) name() string { return r.p.Steps[r.in.Step].Name }

func (r *run) compensate(from int, why Failure) {
	r.in.State, r.in.Failure = Compensating, why
	r.retreat(from)
}

// retreat undoes step i, or the nearest before it that has an undo; then what
// is late is all that is left.
func (r *run) retreat(i int) {
	for i >= 0 && r.p.Steps[i].Undo == NoUndo {
		i--
	}
	switch {
	case i >= 0:
		r.begin(i)
		r.attempt()
	case r.in.Late != 0:
		r.settle()
	default:
		r.end(RolledBack)
	}
}

// settle takes the late undo in hand.
func (r *run) settle() {
	in := &r.in
	r.begin(in.LateStep)
	in.Awaiting, in.Sent, in.Settling = in.Late, in.LateSent, true
	in.Late, in.LateSent = 0, false
	if !in.Sent {
		r.attempt()
		return
	}
	r.wake(r.p.Policy.Resend, r.p.Policy.MaxResend, 0)
}

// late takes the answer to a late undo while others are being undone.
func (r *run) late(x Input) {
	in := &r.in
	switch x.Kind {
	case Done:
		in.Late, in.LateSent = 0, false
	case Refused:
		in.Late, in.LateSent = r.number(), false
	default:
		in.LateSent = false
	}
}
