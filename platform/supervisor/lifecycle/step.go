package lifecycle

import "time"

// Step returns the state that follows s when e happens, and what to do now, in
// this order. An event that means nothing in s changes nothing.
func Step(p Policy, s State, e Event) (State, []Action) {
	if s.Final() || (e.Run != 0 && e.Run != s.Run) {
		return s, nil
	}
	m := machine{Policy: p.WithDefaults(), State: s, e: e}
	switch e.Kind {
	case Launch:
		if s.Phase == Pending {
			m.spawn()
		}
	case Hold:
		if s.Phase == Pending {
			m.Reason = e.Reason
		}
	case Adopt:
		m.adopt()
	case Spawned:
		m.spawned()
	case SpawnFailed:
		m.ended()
	case Exited:
		if s.Alive {
			m.ended()
		}
	case BecameReady:
		m.ready()
	case BecameUnready:
		if s.Phase == Ready {
			m.to(Unready, e.Reason)
			m.do(Deregister)
		}
	case Steady:
		if s.Phase == Ready {
			m.Failures = 0
		}
	case StartTimeout:
		if s.Phase == Starting && s.Alive {
			m.Reason, m.Signaled = e.Reason, true
			m.do(Kill)
		}
	case Retry:
		if s.Phase == Waiting {
			m.spawn()
		}
	case Stop:
		m.stop()
	case Restart:
		m.restart()
	case Drained:
		m.term()
	case StopTimeout:
		if s.Phase == Draining && s.Alive {
			m.do(Kill)
		}
	}
	return m.State, m.actions
}

type machine struct {
	Policy
	State
	e       Event
	actions []Action
}

func (m *machine) to(p Phase, reason string) { m.Phase, m.Reason = p, reason }

func (m *machine) do(d Do) { m.actions = append(m.actions, Action{Do: d, Run: m.Run}) }

func (m *machine) spawn() {
	m.to(Starting, "")
	m.Run++
	m.Again, m.Signaled = false, false
	m.do(Spawn)
}

func (m *machine) adopt() {
	if m.Phase != Pending {
		return
	}
	m.Run++
	m.Alive, m.Reached, m.Probing = true, true, true
	m.to(Ready, "adopted")
	m.do(Probe)
	m.do(Register)
}

func (m *machine) spawned() {
	switch m.Phase {
	case Starting:
		m.Alive, m.Probing = true, true
		m.do(Probe)
		m.after(m.StartTimeout, StartTimeout, "not ready within "+m.StartTimeout.String())
	case Draining: // told to stop while the process was being started
		m.Alive = true
		m.term()
	}
}

func (m *machine) ready() {
	if !m.Alive || m.Signaled || (m.Phase != Starting && m.Phase != Unready) {
		return
	}
	m.to(Ready, "")
	m.Reached = true
	m.do(Register)
	m.after(m.SteadyAfter, Steady, "")
}

// ended follows the end of a process, or that there was none to begin with.
func (m *machine) ended() {
	m.unprobe()
	if m.Alive { // and had no time to say goodbye, perhaps
		m.do(Deregister)
	}
	m.Alive = false
	if m.Phase == Draining {
		if m.Again {
			m.spawn()
			return
		}
		m.to(Stopped, m.Reason)
		return
	}
	reason := m.e.Reason
	if m.Phase == Starting && m.Signaled {
		reason = m.Reason
	}
	m.Failures++
	if !m.Reached && m.Attempts > 0 && m.Failures >= m.Attempts {
		m.to(Failed, reason)
		return
	}
	m.to(Waiting, reason)
	m.after(m.Pause(m.Failures), Retry, "")
}

func (m *machine) stop() {
	m.Again = false
	switch m.Phase {
	case Pending, Waiting:
		m.to(Stopped, m.e.Reason)
	case Starting, Ready, Unready:
		m.drain()
	}
}

func (m *machine) restart() {
	switch m.Phase {
	case Waiting:
		m.Failures = 0
		m.spawn()
	case Starting, Ready, Unready:
		m.Again, m.Failures = true, 0
		m.drain()
	}
}

func (m *machine) drain() {
	m.unprobe()
	called := m.Phase == Ready
	m.to(Draining, m.e.Reason)
	switch {
	case !m.Alive: // being started: Spawned or SpawnFailed comes
	case called:
		m.do(Drain)
		m.after(m.DrainTimeout, Drained, "")
	default:
		m.term()
	}
}

func (m *machine) term() {
	if m.Phase != Draining || !m.Alive || m.Signaled {
		return
	}
	m.Signaled = true
	m.do(Term)
	m.after(m.StopTimeout, StopTimeout, "")
}

func (m *machine) unprobe() {
	if m.Probing {
		m.Probing = false
		m.do(StopProbe)
	}
}

func (m *machine) after(d time.Duration, k Kind, reason string) {
	m.actions = append(m.actions, Action{Do: After, Run: m.Run, Delay: d, Event: Event{Kind: k, Run: m.Run, Reason: reason}})
}
