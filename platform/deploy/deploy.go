package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Instance is one that runs.
type Instance struct {
	ID      string
	Version string
	Alone   bool // whether no second can run beside it, so that it is replaced in its place
}

// Target is where the instances of one program run.
type Target interface {
	// Instances returns those that exist, oldest first.
	Instances(ctx context.Context) ([]Instance, error)
	// Apply starts an instance of a version and returns its id without waiting
	// for it. If inPlaceOf is set, that instance ends first and the new one has
	// its id.
	Apply(ctx context.Context, version, inPlaceOf string) (id string, err error)
	// Await returns nil once the instance that was applied under id is ready,
	// or why it is not.
	Await(ctx context.Context, id string) error
	// Drain returns when nobody calls the instance any more, or the time for
	// that is over. It is removed after that.
	Drain(ctx context.Context, id string) error
	// Remove ends the instance and returns when it is gone.
	Remove(ctx context.Context, id string) error
}

// Options change how a rollout goes. Nil means all defaults.
type Options struct {
	// Say is told each step. Default: nobody is.
	Say func(string)
	// Return limits how long going back may take. Default: 2 minutes.
	Return time.Duration
}

// Error says why a rollout did not end with the new version.
type Error struct {
	Instance string   // the new instance that failed; empty when it could not be started
	Err      error    // what was wrong with it
	Kept     bool     // whether nothing had been replaced
	Outcome  Phase    // Reverted or Stuck, Done when only Left is wrong
	Worse    error    // why going back failed, for Stuck
	Left     []string // instances that could not be removed
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Now()
	}
	return fmt.Sprintf("a new instance did not become ready: %v; %s", e.Err, e.Now())
}

// Now says what serves.
func (e *Error) Now() string {
	text := "the old version runs again"
	switch {
	case e.Outcome == Done:
		text = "the new version runs"
	case e.Outcome == Stuck:
		text = fmt.Sprintf("and going back failed too: %v", e.Worse)
	case e.Kept:
		text = "the old version goes on as before"
	}
	if len(e.Left) > 0 {
		text += "; could not be removed: " + strings.Join(e.Left, ", ")
	}
	return text
}

// Unwrap returns what was wrong with the new instance.
func (e *Error) Unwrap() error { return e.Err }

// Rolling replaces every instance of the target by one of version, one by one.
// Unless all become ready, the instances end up as they were and an [*Error]
// says why. Any other error means that nothing was touched.
func Rolling(ctx context.Context, t Target, version string, opts *Options) error {
	o := Options{}
	if opts != nil {
		o = *opts
	}
	if o.Say == nil {
		o.Say = func(string) {}
	}
	if o.Return <= 0 {
		o.Return = 2 * time.Minute
	}
	instances, err := t.Instances(ctx)
	if err != nil {
		return err
	}
	r := rollout{target: t, say: o.Say}
	s, a := Begin(version, instances)
	settle := context.WithoutCancel(ctx) // what was begun is ended, whoever leaves
	for !s.Final() {
		in := settle
		if !s.Back && (a.Do == Apply || a.Do == Await) {
			in = ctx
		}
		was := s.Back
		id, err := r.do(in, s, a)
		if err != nil {
			r.keep(s, err)
		}
		outcome := Outcome{ID: id}
		if err != nil {
			outcome.Error = cmp.Or(err.Error(), "failed")
		}
		if s, a = Step(s, outcome); s.Back && !was {
			var cancel context.CancelFunc
			settle, cancel = context.WithTimeout(settle, o.Return)
			defer cancel()
		}
	}
	return r.result(s)
}

// rollout carries out actions, and keeps the errors whose texts the machine has.
type rollout struct {
	target     Target
	say        func(string)
	first      error // on the way
	worse      error // on the way back
	exchanged  bool
	unremoving error
}

func (r *rollout) keep(s State, err error) {
	switch {
	case s.Phase != Applying && s.Phase != Awaiting:
		r.unremoving = errors.Join(r.unremoving, err)
	case !s.Back:
		r.first = err
	case r.worse == nil:
		r.worse = err
	}
}

func (r *rollout) do(ctx context.Context, s State, a Action) (id string, err error) {
	if err := context.Cause(ctx); err != nil {
		return "", err
	}
	switch a.Do {
	case Apply:
		if a.ID != "" {
			r.exchanged = true
			r.say("restarting " + a.ID + " " + a.Version)
		}
		id, err = r.target.Apply(ctx, a.Version, a.ID)
		if err == nil && a.ID == "" {
			r.say("starting " + id + " " + a.Version)
		}
		return id, err
	case Await:
		return "", r.target.Await(ctx, a.ID)
	case Drain:
		r.exchanged = true
		r.say(s.Fresh + " is ready, stopping " + a.ID)
		return "", r.target.Drain(ctx, a.ID)
	case Remove:
		if s.Phase == Discarding {
			r.say(a.ID + " did not become ready, going back")
		}
		return "", r.target.Remove(ctx, a.ID)
	}
	return "", nil
}

func (r *rollout) result(s State) error {
	if s.Phase == Done && len(s.Left) == 0 {
		return nil
	}
	e := &Error{Instance: s.Failed, Err: r.first, Outcome: s.Phase, Worse: r.worse, Left: s.Left, Kept: !r.exchanged}
	if s.Phase == Done {
		e.Err = r.unremoving
	}
	return e
}
