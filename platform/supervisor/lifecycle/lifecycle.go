package lifecycle

import "time"

// Phase is where an instance is in its life.
type Phase string

// The phases.
const (
	Pending  Phase = "pending"  // waits for what it needs
	Starting Phase = "starting" // its process runs, or is about to
	Ready    Phase = "ready"    // it can be called
	Unready  Phase = "unready"  // it was ready and is not now; its process lives
	Draining Phase = "draining" // it was told to stop, or to start again
	Waiting  Phase = "waiting"  // it ended by itself and pauses before the next start
	Stopped  Phase = "stopped"  // it was stopped; final
	Failed   Phase = "failed"   // it never became ready within its attempts; final
)

// State is all the machine knows about an instance. The zero value with
// [Pending] as its phase is a new instance.
type State struct {
	Phase    Phase
	Run      int  // counts processes; 0 before the first
	Alive    bool // whether a process exists
	Probing  bool
	Reached  bool   // whether it has ever been ready
	Again    bool   // whether it starts again once drained
	Signaled bool   // whether the process of this run was told to end
	Failures int    // starts and crashes in a row without a steady run between
	Reason   string // why it is where it is
}

// Final reports whether nothing will ever happen to the instance again.
func (s State) Final() bool { return s.Phase == Stopped || s.Phase == Failed }

// Kind names an event.
type Kind string

// The events.
const (
	Launch        Kind = "launch"         // what it needs is there
	Hold          Kind = "hold"           // what it needs went away
	Adopt         Kind = "adopt"          // a process of an earlier supervisor was found ready
	Spawned       Kind = "spawned"        // its process runs
	SpawnFailed   Kind = "spawn-failed"   // its process could not be started
	BecameReady   Kind = "became-ready"   // it said so, or the probe did
	BecameUnready Kind = "became-unready" // likewise
	Exited        Kind = "exited"         // its process ended
	Steady        Kind = "steady"         // it has been ready for a while
	StartTimeout  Kind = "start-timeout"  // it took too long to become ready
	Retry         Kind = "retry"          // the pause is over
	Stop          Kind = "stop"           // somebody wants it to end
	Restart       Kind = "restart"        // somebody wants it to start again
	Drained       Kind = "drained"        // nobody calls it any more
	StopTimeout   Kind = "stop-timeout"   // it took too long to end
)

// Event is something that happened.
type Event struct {
	Kind   Kind
	Run    int    // the process it is about; 0: the instance as a whole
	Reason string // for people
}

// Do names an action.
type Do string

// The actions.
const (
	Spawn      Do = "spawn"      // start a process; answer Spawned or SpawnFailed
	Probe      Do = "probe"      // watch for readiness
	StopProbe  Do = "stop-probe" // readiness does not matter any more
	Register   Do = "register"   // tell the registry
	Deregister Do = "deregister" // withdraw from the registry without waiting
	Drain      Do = "drain"      // withdraw, wait until nobody calls; answer Drained
	Term       Do = "term"       // ask the process group to end
	Kill       Do = "kill"       // end the process group
	After      Do = "after"      // deliver Event after Delay
)

// Action is something to do.
type Action struct {
	Do    Do
	Run   int
	Event Event         // for After
	Delay time.Duration // for After
}

// Policy holds the times and limits of a program.
type Policy struct {
	StartTimeout time.Duration // until ready. Default: 60 s.
	StopTimeout  time.Duration // from Term to Kill. Default: 25 s, of which package service needs 23 at most.
	DrainTimeout time.Duration // until Term comes without Drained. Default: 5 s.
	SteadyAfter  time.Duration // ready for so long clears the failures. Default: 10 s.
	PauseMin     time.Duration // the first pause; doubles. Default: 100 ms.
	PauseMax     time.Duration // Default: 10 s.
	Attempts     int           // starts before the first readiness; then Failed. Default: 0, no limit.
}

// WithDefaults returns p with its zero fields set.
func (p Policy) WithDefaults() Policy {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&p.StartTimeout, time.Minute)
	set(&p.StopTimeout, 25*time.Second)
	set(&p.DrainTimeout, 5*time.Second)
	set(&p.SteadyAfter, 10*time.Second)
	set(&p.PauseMin, 100*time.Millisecond)
	set(&p.PauseMax, 10*time.Second)
	return p
}

// Pause returns how long to wait before the start that follows the n-th failure
// in a row.
func (p Policy) Pause(n int) time.Duration {
	d := p.PauseMin
	for ; n > 1 && d < p.PauseMax; n-- {
		d *= 2
	}
	return min(d, p.PauseMax)
}
