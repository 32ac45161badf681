package breaker_test

import (
	"slices"
	"time"

	"github.com/cleave-go/cleave/breaker"
)

// reference is the breaker as one would write it without a thought for speed: it remembers every result with
// its time, and asks the whole list each time.
type reference struct {
	minCalls, probes    int
	window              int           // of so many calls,
	span                time.Duration // or of so much time
	failures, slows     int           // rates in percent
	slowCall            time.Duration
	openFor             time.Duration // times the number of the opening
	probeTimeout        time.Duration
	now                 time.Duration // since it was made
	state               breaker.State
	mode                breaker.Mode
	period              int // grows with each stay in a state
	results             []result
	running             []*ticket // half-open
	openings            int
	openedFor, openTill time.Duration
	reported            breaker.Reason
	events              []breaker.Event // without Seq, Breaker and the day
	totals              breaker.Totals
}

type result struct {
	at           time.Duration
	failed, slow bool
}

// ticket is the reference's permit.
type ticket struct {
	period int
	start  time.Duration
	ended  bool
	exempt bool // from being reported
}

func (r *reference) enter(at time.Duration, s breaker.State, m breaker.Mode, why breaker.Reason) {
	from := r.state
	same := s == r.state && m == r.mode
	if !same && s == breaker.Open && m == breaker.Auto {
		r.totals.Openings++
	}
	r.state, r.mode = s, m
	r.period++
	r.results, r.running, r.reported = nil, nil, ""
	if s == breaker.Closed || m == breaker.ForcedOpen {
		r.openings = 0
	}
	if !same || why == breaker.WasReset {
		r.event(at, from, why)
	}
}

func (r *reference) event(at time.Duration, from breaker.State, why breaker.Reason) {
	r.events = append(r.events, breaker.Event{At: time.Time{}.Add(at), From: from, To: r.state, Mode: r.mode, Reason: why})
}

func (r *reference) open(at, d time.Duration, why breaker.Reason) {
	r.openedFor = max(d, time.Millisecond)
	r.openTill = at + r.openedFor
	r.enter(at, breaker.Open, breaker.Auto, why)
}

func (r *reference) reopen(at time.Duration, why breaker.Reason) {
	r.openings++
	r.open(at, time.Duration(r.openings)*r.openFor, why)
}

// count returns what is in the window.
func (r *reference) count() (calls, failures, slow int) {
	step := r.span / 10
	for i, res := range r.results {
		if r.window > 0 && i < len(r.results)-r.window {
			continue
		}
		if r.state == breaker.Closed && r.window == 0 && r.now/step-res.at/step >= 10 {
			continue
		}
		calls++
		if res.failed {
			failures++
		}
		if res.slow {
			slow++
		}
	}
	return calls, failures, slow
}

func (r *reference) exceeded() breaker.Reason {
	calls, failures, slow := r.count()
	switch {
	case failures*100 >= r.failures*calls:
		return breaker.TooManyFailures
	case r.slowCall > 0 && slow*100 >= r.slows*calls:
		return breaker.TooManySlow
	}
	return ""
}

func (r *reference) enough() bool {
	calls, _, _ := r.count()
	return r.state == breaker.Closed && calls >= r.minCalls
}

// expire fails probes that hang, the oldest first.
func (r *reference) expire() {
	for r.state == breaker.HalfOpen && len(r.running) > 0 {
		oldest := slices.MinFunc(r.running, func(a, b *ticket) int { return int(a.start - b.start) })
		timeout := r.probeTimeout
		if timeout == 0 {
			timeout = min(max(r.openedFor, time.Second), time.Minute)
		}
		if r.now < oldest.start+timeout {
			return
		}
		r.endProbe(oldest, oldest.start+timeout, true)
	}
}

func (r *reference) endProbe(t *ticket, at time.Duration, failed bool) {
	t.ended = true
	r.running = slices.DeleteFunc(r.running, func(o *ticket) bool { return o == t })
	r.record(t, at, failed)
	if len(r.results) < r.probes {
		return
	}
	if why := r.exceeded(); why != "" {
		r.reopen(at, why)
	} else {
		r.enter(at, breaker.Closed, breaker.Auto, breaker.ProbesPassed)
	}
}

func (r *reference) record(t *ticket, at time.Duration, failed bool) {
	r.results = append(r.results, result{at: at, failed: failed, slow: r.slowCall > 0 && at-t.start > r.slowCall})
	if n := len(r.results); n > 300 { // only to be quick: no window of the test holds more
		r.results = slices.Clone(r.results[n-150:])
	}
}

// allow returns nil if the call is refused.
func (r *reference) allow() *ticket {
	r.expire()
	if r.state == breaker.Open && r.mode == breaker.Auto && r.now >= r.openTill {
		r.enter(r.now, breaker.HalfOpen, breaker.Auto, breaker.OpenElapsed)
	}
	t := &ticket{period: r.period, start: r.now}
	switch {
	case r.state == breaker.Open, r.state == breaker.HalfOpen && len(r.running)+len(r.results) == r.probes:
		r.totals.Rejected++
		return nil
	case r.state == breaker.HalfOpen:
		r.running = append(r.running, t)
	case r.mode == breaker.Disabled:
		t.exempt = true
	}
	return t
}

func (r *reference) done(t *ticket, out breaker.Outcome) {
	if t.exempt {
		return
	}
	r.expire()
	if t.ended || t.period != r.period {
		r.totals.Late++
		return
	}
	switch out {
	case breaker.Success:
		r.totals.Succeeded++
	case breaker.Failure:
		r.totals.Failed++
	default:
		r.totals.Ignored++
		t.ended = true
		r.running = slices.DeleteFunc(r.running, func(o *ticket) bool { return o == t })
		return
	}
	if r.state == breaker.HalfOpen {
		r.endProbe(t, r.now, out == breaker.Failure)
		return
	}
	t.ended = true
	r.record(t, r.now, out == breaker.Failure)
	if !r.enough() {
		return
	}
	why := r.exceeded()
	if why != "" && r.mode == breaker.Auto {
		r.reopen(r.now, why)
		return
	}
	if why != "" && why != r.reported {
		r.event(r.now, r.state, why)
	}
	r.reported = why
}

func (r *reference) trip(d time.Duration) {
	r.expire()
	if r.mode == breaker.Auto && (r.state != breaker.Open || r.now+d > r.openTill) {
		r.open(r.now, d, breaker.Tripped)
	}
}

func (r *reference) reset() {
	r.expire()
	r.enter(r.now, breaker.Closed, breaker.Auto, breaker.WasReset)
}

func (r *reference) setMode(m breaker.Mode) {
	r.expire()
	switch {
	case m == r.mode:
	case m == breaker.ForcedOpen:
		r.enter(r.now, breaker.Open, m, breaker.ModeChanged)
	default:
		r.enter(r.now, breaker.Closed, m, breaker.ModeChanged)
	}
}

func (r *reference) setState(s breaker.State) (legal bool) {
	r.expire()
	switch {
	case s == breaker.Closed:
		r.enter(r.now, s, breaker.Auto, breaker.StateSet)
	case r.mode == breaker.MetricsOnly:
		return false
	case s == breaker.Open:
		r.reopen(r.now, breaker.StateSet)
	case r.state == breaker.Closed && r.mode == breaker.Auto:
		return false
	default:
		r.enter(r.now, s, breaker.Auto, breaker.StateSet)
	}
	return true
}

func (r *reference) stats() breaker.Stats {
	r.expire()
	s := breaker.Stats{State: r.state, Mode: r.mode, FailureRate: -1, SlowRate: -1, Totals: r.totals}
	s.Calls, s.Failures, s.Slow = r.count()
	if r.enough() {
		s.FailureRate = float64(s.Failures) / float64(s.Calls)
		s.SlowRate = float64(s.Slow) / float64(s.Calls)
	}
	return s
}
