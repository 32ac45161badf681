package deploy_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/cleave-go/cleave/platform/deploy"
)

// world is what the instances of a model do: nothing but what actions say.
type world struct {
	instances map[string]model
	born      int
	trace     []string
	failures  int
}

type model struct {
	version        string
	ready, drained bool
}

func (w world) clone() world {
	w.instances, w.trace = maps.Clone(w.instances), slices.Clone(w.trace)
	return w
}

func (w world) serving() (n int) {
	for _, m := range w.instances {
		if m.ready && !m.drained {
			n++
		}
	}
	return n
}

// act lets an action work or fail, and returns its outcome.
func (w *world) act(t *testing.T, a deploy.Action, fails bool) deploy.Outcome {
	w.trace = append(w.trace, fmt.Sprintf("%s %s %s fails=%v", a.Do, a.ID, a.Version, fails))
	if fails {
		w.failures++
	}
	m := w.instances[a.ID]
	switch a.Do {
	case deploy.Apply:
		if fails {
			if a.ID != "" { // its place is empty now
				w.instances[a.ID] = model{version: m.version}
			}
			return deploy.Outcome{Error: "cannot start"}
		}
		id := a.ID
		if id == "" {
			w.born++
			id = fmt.Sprintf("new-%d", w.born)
		}
		w.instances[id] = model{version: a.Version}
		return deploy.Outcome{ID: id}
	case deploy.Await:
		if fails {
			return deploy.Outcome{Error: "not ready"}
		}
		m.ready = true
		w.instances[a.ID] = m
	case deploy.Drain:
		m.drained = true // the time for it is over at the latest
		w.instances[a.ID] = m
		if fails {
			return deploy.Outcome{Error: "timed out"}
		}
	case deploy.Remove:
		if m.ready && !m.drained {
			t.Fatalf("%s is removed while it serves\n%q", a.ID, w.trace)
		}
		if fails {
			return deploy.Outcome{Error: "does not end"}
		}
		delete(w.instances, a.ID)
	}
	return deploy.Outcome{}
}

// TestEveryPathKeepsThePromises walks every rollout of up to three instances in
// which up to four actions fail, wherever they do.
func TestEveryPathKeepsThePromises(t *testing.T) {
	for n := range 4 {
		for alone := range 2 {
			t.Run(fmt.Sprintf("%d instances, alone %v", n, alone == 1), func(t *testing.T) {
				w := world{instances: map[string]model{}}
				var list []deploy.Instance
				for k := range n {
					id := fmt.Sprintf("old-%d", k)
					w.instances[id] = model{version: "old", ready: true}
					list = append(list, deploy.Instance{ID: id, Version: "old", Alone: alone == 1})
				}
				s, a := deploy.Begin("new", list)
				paths := walk(t, s, a, w, n, alone == 1)
				t.Logf("%d paths", paths)
			})
		}
	}
}

func walk(t *testing.T, s deploy.State, a deploy.Action, w world, n int, alone bool) (paths int) {
	t.Helper()
	if len(w.trace) > 50 {
		t.Fatalf("does not end: %q", w.trace)
	}
	if ready := w.serving(); !alone && ready < n {
		t.Fatalf("%d of %d instances are ready\n%q", ready, n, w.trace)
	}
	if exist := len(w.instances); exist > n+1+len(s.Left) {
		t.Fatalf("%d instances exist instead of %d, left %q\n%q", exist, n, s.Left, w.trace)
	}
	if s.Final() {
		atTheEnd(t, s, a, w, n)
		return 1
	}
	if a.Do == deploy.Nothing {
		t.Fatalf("%s asks for nothing\n%q", s.Phase, w.trace)
	}
	for _, fails := range []bool{false, true} {
		if fails && w.failures == 4 {
			continue
		}
		next := w.clone()
		o := next.act(t, a, fails)
		s2, a2 := deploy.Step(s, o)
		paths += walk(t, s2, a2, next, n, alone)
	}
	return paths
}

func atTheEnd(t *testing.T, s deploy.State, a deploy.Action, w world, n int) {
	t.Helper()
	if a.Do != deploy.Nothing {
		t.Fatalf("%s asks for %s\n%q", s.Phase, a.Do, w.trace)
	}
	want := map[deploy.Phase]string{deploy.Done: "new", deploy.Reverted: "old"}[s.Phase]
	count := 0
	for id, m := range w.instances {
		if slices.Contains(s.Left, id) {
			continue
		}
		count++
		if want != "" && (m.version != want || !m.ready) {
			t.Fatalf("%s, but %s is %+v\n%q", s.Phase, id, m, w.trace)
		}
	}
	if count != n {
		t.Fatalf("%s with %d instances instead of %d\n%q", s.Phase, count, n, w.trace)
	}
	if s.Phase != deploy.Done && s.Why == "" {
		t.Fatalf("%s without a reason\n%q", s.Phase, w.trace)
	}
	if s.Phase == deploy.Stuck && s.Worse == "" {
		t.Fatalf("stuck without a reason\n%q", w.trace)
	}
	if again, b := deploy.Step(s, deploy.Outcome{}); again.Phase != s.Phase || b.Do != deploy.Nothing {
		t.Fatalf("%s is not final", s.Phase)
	}
}

func TestARestartThatFailsReplacesNothingBack(t *testing.T) {
	s, a := deploy.Begin("v1", []deploy.Instance{{ID: "a", Version: "v1"}, {ID: "b", Version: "v1"}})
	for _, o := range []deploy.Outcome{{ID: "c"}, {}, {}, {}, {ID: "d"}, {Error: "not ready"}, {}} {
		s, a = deploy.Step(s, o)
	}
	if s.Phase != deploy.Reverted || a.Do != deploy.Nothing || s.Failed != "d" || s.Why != "not ready" {
		t.Errorf("got %+v and %+v; want it over, with c and b serving", s, a)
	}
}
