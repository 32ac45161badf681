package lifecycle_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cleave-go/cleave/platform/supervisor/lifecycle"
)

// story is a life told in steps: each line is an event, the phase it leads to
// and the actions it causes.
type story []struct {
	event   lifecycle.Kind
	run     int
	phase   lifecycle.Phase
	actions string // action names, After as after:event
}

func tell(t *testing.T, p lifecycle.Policy, st story) lifecycle.State {
	t.Helper()
	s := lifecycle.State{Phase: lifecycle.Pending}
	for i, step := range st {
		var actions []lifecycle.Action
		s, actions = lifecycle.Step(p, s, lifecycle.Event{Kind: step.event, Run: step.run, Reason: string(step.event)})
		if s.Phase != step.phase || names(actions) != step.actions {
			t.Fatalf("step %d, %s: got %s %q, want %s %q", i, step.event, s.Phase, names(actions), step.phase, step.actions)
		}
	}
	return s
}

func names(actions []lifecycle.Action) string {
	var list []string
	for _, a := range actions {
		n := string(a.Do)
		if a.Do == lifecycle.After {
			n += ":" + string(a.Event.Kind)
		}
		list = append(list, n)
	}
	return strings.Join(list, " ")
}

func TestLives(t *testing.T) {
	for _, c := range []struct {
		name   string
		policy lifecycle.Policy
		story  story
	}{
		{"starts, is ready, stops", lifecycle.Policy{}, story{
			{"launch", 0, "starting", "spawn"},
			{"spawned", 1, "starting", "probe after:start-timeout"},
			{"became-ready", 1, "ready", "register after:steady"},
			{"stop", 0, "draining", "stop-probe drain after:drained"},
			{"drained", 1, "draining", "term after:stop-timeout"},
			{"drained", 1, "draining", ""},
			{"exited", 1, "stopped", "deregister"},
		}},
		{"a crash is followed by a pause and a new start", lifecycle.Policy{}, story{
			{"launch", 0, "starting", "spawn"},
			{"spawned", 1, "starting", "probe after:start-timeout"},
			{"became-ready", 1, "ready", "register after:steady"},
			{"exited", 1, "waiting", "stop-probe deregister after:retry"},
			{"retry", 1, "starting", "spawn"},
			{"spawned", 2, "starting", "probe after:start-timeout"},
		}},
		{"a process that ignores the signal is killed", lifecycle.Policy{}, story{
			{"launch", 0, "starting", "spawn"},
			{"spawned", 1, "starting", "probe after:start-timeout"},
			{"stop", 0, "draining", "stop-probe term after:stop-timeout"},
			{"stop-timeout", 1, "draining", "kill"},
			{"exited", 1, "stopped", "deregister"},
		}},
		{"a stop that overtakes the start still ends the process", lifecycle.Policy{}, story{
			{"launch", 0, "starting", "spawn"},
			{"stop", 0, "draining", ""},
			{"spawned", 1, "draining", "term after:stop-timeout"},
			{"exited", 1, "stopped", "deregister"},
		}},
		{"a stop that overtakes a failing start ends", lifecycle.Policy{}, story{
			{"launch", 0, "starting", "spawn"},
			{"stop", 0, "draining", ""},
			{"spawn-failed", 1, "stopped", ""},
		}},
		{"a first start with limited attempts fails for good", lifecycle.Policy{Attempts: 1}, story{
			{"launch", 0, "starting", "spawn"},
			{"spawned", 1, "starting", "probe after:start-timeout"},
			{"start-timeout", 1, "starting", "kill"},
			{"became-ready", 1, "starting", ""},
			{"exited", 1, "failed", "stop-probe deregister"},
			{"launch", 0, "failed", ""},
		}},
		{"limited attempts count only before the first readiness", lifecycle.Policy{Attempts: 1}, story{
			{"launch", 0, "starting", "spawn"},
			{"spawned", 1, "starting", "probe after:start-timeout"},
			{"became-ready", 1, "ready", "register after:steady"},
			{"exited", 1, "waiting", "stop-probe deregister after:retry"},
		}},
		{"a restart in place drains, ends and starts the same instance", lifecycle.Policy{}, story{
			{"launch", 0, "starting", "spawn"},
			{"spawned", 1, "starting", "probe after:start-timeout"},
			{"became-ready", 1, "ready", "register after:steady"},
			{"restart", 0, "draining", "stop-probe drain after:drained"},
			{"drained", 1, "draining", "term after:stop-timeout"},
			{"exited", 1, "starting", "deregister spawn"},
		}},
		{"a stop wins over a restart", lifecycle.Policy{}, story{
			{"launch", 0, "starting", "spawn"},
			{"spawned", 1, "starting", "probe after:start-timeout"},
			{"restart", 0, "draining", "stop-probe term after:stop-timeout"},
			{"stop", 0, "draining", ""},
			{"exited", 1, "stopped", "deregister"},
		}},
		{"an adopted process is ready at once", lifecycle.Policy{}, story{
			{"adopt", 0, "ready", "probe register"},
			{"exited", 1, "waiting", "stop-probe deregister after:retry"},
		}},

		// The defects of another supervisor, each a case of its own.
		{"process-compose 544: a transient loss of what it needs does not skip it", lifecycle.Policy{}, story{
			{"hold", 0, "pending", ""},
			{"hold", 0, "pending", ""},
			{"launch", 0, "starting", "spawn"},
		}},
		{"process-compose 530: a restart while pending neither wedges nor duplicates", lifecycle.Policy{}, story{
			{"restart", 0, "pending", ""},
			{"launch", 0, "starting", "spawn"},
			{"launch", 0, "starting", ""},
			{"spawned", 1, "starting", "probe after:start-timeout"},
		}},
		{"process-compose 403: a failed readiness is retried, not final", lifecycle.Policy{}, story{
			{"launch", 0, "starting", "spawn"},
			{"spawned", 1, "starting", "probe after:start-timeout"},
			{"start-timeout", 1, "starting", "kill"},
			{"exited", 1, "waiting", "stop-probe deregister after:retry"},
			{"retry", 1, "starting", "spawn"},
		}},
		{"devbox 2915: a start without any readiness signal ends in a timeout, never in a hang", lifecycle.Policy{}, story{
			{"launch", 0, "starting", "spawn"},
			{"spawned", 1, "starting", "probe after:start-timeout"},
			{"start-timeout", 1, "starting", "kill"},
		}},
		{"process-compose 497: what is known of an earlier process does not count for the next", lifecycle.Policy{}, story{
			{"launch", 0, "starting", "spawn"},
			{"spawned", 1, "starting", "probe after:start-timeout"},
			{"exited", 1, "waiting", "stop-probe deregister after:retry"},
			{"retry", 1, "starting", "spawn"},
			{"spawned", 2, "starting", "probe after:start-timeout"},
			{"exited", 1, "starting", ""},
			{"became-ready", 1, "starting", ""},
			{"start-timeout", 1, "starting", ""},
		}},
		{"process-compose 488 and 217: no probe outlives its process", lifecycle.Policy{}, story{
			{"launch", 0, "starting", "spawn"},
			{"spawned", 1, "starting", "probe after:start-timeout"},
			{"became-ready", 1, "ready", "register after:steady"},
			{"became-unready", 1, "unready", "deregister"},
			{"became-ready", 1, "ready", "register after:steady"},
			{"became-unready", 1, "unready", "deregister"},
			{"exited", 1, "waiting", "stop-probe deregister after:retry"},
			{"stop", 0, "stopped", ""},
			{"retry", 1, "stopped", ""},
		}},
	} {
		t.Run(c.name, func(t *testing.T) { tell(t, c.policy, c.story) })
	}
}

func TestPausesGrowUpToABoundAndASteadyRunClearsThem(t *testing.T) {
	p := lifecycle.Policy{}.WithDefaults()
	var got []time.Duration
	for n := 1; n <= 9; n++ {
		got = append(got, p.Pause(n))
	}
	ms := time.Millisecond
	want := []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 10000 * ms, 10000 * ms}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	s := tell(t, p, story{
		{"launch", 0, "starting", "spawn"},
		{"spawn-failed", 1, "waiting", "after:retry"},
		{"retry", 1, "starting", "spawn"},
		{"spawned", 2, "starting", "probe after:start-timeout"},
		{"became-ready", 2, "ready", "register after:steady"},
	})
	if s.Failures != 1 {
		t.Fatalf("got %d failures, want 1", s.Failures)
	}
	if s, _ = lifecycle.Step(p, s, lifecycle.Event{Kind: lifecycle.Steady, Run: 2}); s.Failures != 0 {
		t.Errorf("a steady run leaves %d failures", s.Failures)
	}
}

func TestInvariantsHoldUnderRandomEvents(t *testing.T) {
	kinds := []lifecycle.Kind{
		lifecycle.Launch, lifecycle.Hold, lifecycle.Adopt, lifecycle.Spawned, lifecycle.SpawnFailed, lifecycle.BecameReady,
		lifecycle.BecameUnready, lifecycle.Exited, lifecycle.Steady, lifecycle.StartTimeout, lifecycle.Retry,
		lifecycle.Stop, lifecycle.Restart, lifecycle.Drained, lifecycle.StopTimeout,
	}
	for seed := range uint64(10_000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		w := world{state: lifecycle.State{Phase: lifecycle.Pending}}
		p := lifecycle.Policy{Attempts: int(seed % 3)}
		for range 60 {
			e := lifecycle.Event{Kind: kinds[rnd.IntN(len(kinds))], Run: max(0, w.state.Run-rnd.IntN(2))}
			if w.possible(e) {
				w.step(t, p, e)
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		// Whatever came before, a stop ends it once the world does its duties.
		w.step(t, p, lifecycle.Event{Kind: lifecycle.Stop})
		if w.spawning {
			w.step(t, p, lifecycle.Event{Kind: lifecycle.Spawned, Run: w.state.Run})
		}
		w.step(t, p, lifecycle.Event{Kind: lifecycle.Drained, Run: w.state.Run})
		if w.alive {
			if !w.signaled {
				t.Fatalf("seed %d: %s holds a process that nobody told to end", seed, w.state.Phase)
			}
			w.step(t, p, lifecycle.Event{Kind: lifecycle.Exited, Run: w.state.Run})
		}
		if !w.state.Final() || w.alive || w.probing {
			t.Fatalf("seed %d: ended as %+v", seed, w)
		}
	}
}

// world does what actions say and refuses what cannot happen.
type world struct {
	state                              lifecycle.State
	spawning, alive, probing, signaled bool
}

func (w *world) possible(e lifecycle.Event) bool {
	switch e.Kind {
	case lifecycle.Spawned, lifecycle.SpawnFailed:
		return w.spawning && e.Run == w.state.Run
	case lifecycle.Exited:
		return e.Run != 0 && (w.alive || e.Run < w.state.Run)
	case lifecycle.BecameReady, lifecycle.BecameUnready:
		return w.probing
	case lifecycle.Launch, lifecycle.Hold, lifecycle.Adopt, lifecycle.Stop, lifecycle.Restart:
		return true
	}
	return e.Run != 0
}

func (w *world) step(t *testing.T, p lifecycle.Policy, e lifecycle.Event) {
	before := w.state
	s, actions := lifecycle.Step(p, before, e)
	if e.Run == 0 || e.Run == before.Run {
		switch e.Kind {
		case lifecycle.Spawned:
			w.spawning, w.alive = false, true
		case lifecycle.SpawnFailed:
			w.spawning = false
		case lifecycle.Exited:
			w.alive = false
		case lifecycle.Adopt:
			w.alive = w.alive || s.Run > before.Run
		}
	}
	w.state = s
	for _, a := range actions {
		switch a.Do {
		case lifecycle.Spawn:
			if w.alive || w.spawning {
				t.Errorf("%s in %s: a second process", e.Kind, before.Phase)
			}
			w.spawning, w.signaled = true, false
		case lifecycle.Probe:
			w.probing = true
		case lifecycle.StopProbe:
			w.probing = false
		case lifecycle.Term, lifecycle.Kill:
			w.signaled = true
			if !w.alive {
				t.Errorf("%s in %s: %s without a process", e.Kind, before.Phase, a.Do)
			}
		case lifecycle.Register:
			if !w.alive {
				t.Errorf("%s in %s: registers what does not live", e.Kind, before.Phase)
			}
		}
	}
	if w.probing && !w.alive {
		t.Errorf("%s in %s: a probe outlives its process", e.Kind, before.Phase)
	}
	if before.Final() && (s != before || len(actions) > 0) {
		t.Errorf("%s revived a final state", e.Kind)
	}
	if s.Alive != w.alive {
		t.Errorf("%s in %s: the state says alive %v, the world %v", e.Kind, before.Phase, s.Alive, w.alive)
	}
}
