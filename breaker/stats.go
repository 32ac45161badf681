package breaker

import (
	"errors"
	"fmt"
	"time"
)

// ErrOpen is what every [*OpenError] is: errors.Is(err, breaker.ErrOpen).
var ErrOpen = errors.New("circuit breaker is open")

// OpenError refuses a call. The dependency has not been called.
type OpenError struct {
	Breaker string // its name
	State   State  // Open or HalfOpen
	until   time.Time
}

// Error says which breaker is open.
func (e *OpenError) Error() string {
	return fmt.Sprintf("circuit breaker %s is %v", e.Breaker, e.State)
}

// Is reports whether target is [ErrOpen].
func (e *OpenError) Is(target error) bool { return target == ErrOpen }

// RetryAfter returns how long from now the breaker refuses every call; 0 if that is not known, as while
// probes run or when it is forced open.
func (e *OpenError) RetryAfter() time.Duration {
	if e.until.IsZero() {
		return 0
	}
	return max(time.Until(e.until), 0)
}

// Stats is a snapshot of a breaker.
type Stats struct {
	State State
	Mode  Mode

	// The sliding window; half-open, the probes so far.
	Calls, Failures, Slow int
	// FailureRate and SlowRate are shares of Calls, or -1 as long as there are too few to judge.
	FailureRate, SlowRate float64

	Totals
}

// Totals counts since New; the numbers only grow.
type Totals struct {
	Succeeded uint64 // results that counted as success
	Failed    uint64 // results that counted as failure
	Ignored   uint64 // results that said nothing
	Late      uint64 // results of an earlier period, not counted otherwise
	Rejected  uint64 // calls refused
	Openings  uint64 // changes to Open
}

func (t *Totals) add(out Outcome) {
	switch out {
	case Success:
		t.Succeeded++
	case Failure:
		t.Failed++
	default:
		t.Ignored++
	}
}

// Stats returns a consistent snapshot.
func (b *Breaker) Stats() Stats {
	var s Stats
	b.do(func(now int64) {
		p := b.m.cur
		s = Stats{State: p.state, Mode: p.mode, FailureRate: -1, SlowRate: -1, Totals: b.m.total}
		sum, enough := p.settled, false
		if p.state == Closed {
			p.win.advance(now)
			sum, enough = p.win.sum, p.win.sum.calls >= int64(b.m.opts.MinCalls)
		}
		s.Calls, s.Failures, s.Slow = int(sum.calls), int(sum.failures), int(sum.slow)
		if enough {
			s.FailureRate = float64(sum.failures) / float64(sum.calls)
			s.SlowRate = float64(sum.slow) / float64(sum.calls)
		}
	})
	s.Rejected = b.rejected.Load()
	return s
}
