package deploy

import "slices"

// Phase is where a rollout is.
type Phase string

// The phases.
const (
	Applying   Phase = "applying"   // a new instance is being started
	Awaiting   Phase = "awaiting"   // it is not ready yet
	Draining   Phase = "draining"   // it is ready; the instance it replaces loses its callers
	Removing   Phase = "removing"   // and ends
	Discarding Phase = "discarding" // a new instance that did not become ready ends
	Done       Phase = "done"       // every instance is of the new version; final
	Reverted   Phase = "reverted"   // every instance is of the version it had; final
	Stuck      Phase = "stuck"      // going back failed, too; final
)

// Slot is one instance to replace.
type Slot struct {
	ID    string // what serves now
	Was   string // its version
	Want  string // the version to put in its place
	Alone bool   // whether no second can run beside it
}

// State is all the machine knows about a rollout.
type State struct {
	Phase  Phase
	Todo   []Slot   // still to replace; the first is under way
	Undo   []Slot   // how to bring back what was replaced, oldest first
	Fresh  string   // the new instance under way
	Back   bool     // whether the rollout goes back
	Failed string   // the instance that made it go back; empty when none could be started
	Why    string   // what was wrong with it
	Worse  string   // what went wrong on the way back
	Left   []string // instances that could not be removed
}

// Final reports whether the rollout is over.
func (s State) Final() bool { return s.Phase == Done || s.Phase == Reverted || s.Phase == Stuck }

// Do names an action.
type Do string

// The actions.
const (
	Nothing Do = ""       // the rollout is over
	Apply   Do = "apply"  // start an instance of Version; in the place of ID if ID is set. Answer its ID
	Await   Do = "await"  // wait until ID is ready
	Drain   Do = "drain"  // take ID away from its callers
	Remove  Do = "remove" // end ID
)

// Action is the one thing to do next.
type Action struct {
	Do      Do
	ID      string
	Version string
}

// Outcome answers an action.
type Outcome struct {
	ID    string // of the instance that was applied
	Error string // empty: it worked
}

// Begin returns the state of a rollout that replaces the instances, in this
// order, by version, and its first action.
func Begin(version string, instances []Instance) (State, Action) {
	s := State{}
	for _, i := range instances {
		s.Todo = append(s.Todo, Slot{ID: i.ID, Was: i.Version, Want: version, Alone: i.Alone})
	}
	return s.next()
}

// Step returns the state that follows s when the action it asked for had that
// outcome, and the next action. A final state does not change.
func Step(s State, o Outcome) (State, Action) {
	s.Todo, s.Undo, s.Left = slices.Clone(s.Todo), slices.Clone(s.Undo), slices.Clone(s.Left)
	switch s.Phase {
	case Applying:
		if s.Fresh = o.ID; o.Error != "" {
			s.Fresh = ""
			return s.fail(o.Error)
		}
		s.Phase = Awaiting
		return s, Action{Do: Await, ID: s.Fresh}
	case Awaiting:
		switch {
		case o.Error != "" && s.Todo[0].Alone:
			return s.fail(o.Error)
		case o.Error != "":
			s.Phase = Discarding
			s.note(o.Error)
			return s, Action{Do: Remove, ID: s.Fresh}
		case s.Todo[0].Alone:
			return s.replaced()
		}
		s.Phase = Draining
		return s, Action{Do: Drain, ID: s.Todo[0].ID}
	case Draining: // a drain that failed took its time; the instance has to go all the same
		s.Phase = Removing
		return s, Action{Do: Remove, ID: s.Todo[0].ID}
	case Removing:
		if o.Error != "" {
			s.Left = append(s.Left, s.Todo[0].ID)
		}
		return s.replaced()
	case Discarding:
		if o.Error != "" {
			s.Left = append(s.Left, s.Fresh)
		}
		return s.goBack()
	}
	return s, Action{}
}

// note keeps the first thing that went wrong in each direction.
func (s *State) note(why string) {
	switch {
	case !s.Back:
		s.Failed, s.Why = s.Fresh, why
	case s.Worse == "":
		s.Worse = why
	}
}

func (s State) fail(why string) (State, Action) {
	s.note(why)
	return s.goBack()
}

// goBack turns the rollout around. On the way back it passes over an instance
// that does not become ready: what serves in its place goes on.
func (s State) goBack() (State, Action) {
	current := s.Todo[0]
	if s.Back {
		s.Todo = s.Todo[1:]
		return s.next()
	}
	s.Back, s.Todo = true, nil
	if current.Alone && current.Was != current.Want {
		s.Todo = append(s.Todo, Slot{ID: current.ID, Was: current.Want, Want: current.Was, Alone: true})
	}
	for _, u := range slices.Backward(s.Undo) {
		s.Todo = append(s.Todo, u)
	}
	s.Undo = nil
	return s.next()
}

func (s State) replaced() (State, Action) {
	t := s.Todo[0]
	s.Todo = s.Todo[1:]
	if !s.Back && t.Was != t.Want {
		s.Undo = append(s.Undo, Slot{ID: s.Fresh, Was: t.Want, Want: t.Was, Alone: t.Alone})
	}
	return s.next()
}

func (s State) next() (State, Action) {
	s.Fresh = ""
	switch {
	case len(s.Todo) > 0:
		s.Phase = Applying
		a := Action{Do: Apply, Version: s.Todo[0].Want}
		if s.Todo[0].Alone {
			a.ID = s.Todo[0].ID
		}
		return s, a
	case !s.Back:
		s.Phase = Done
	case s.Worse != "":
		s.Phase = Stuck
	default:
		s.Phase = Reverted
	}
	return s, Action{}
}
