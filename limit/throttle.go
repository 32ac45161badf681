package limit

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// ThrottleOptions tune a Throttle. The zero value, like nil, means the defaults.
type ThrottleOptions struct {
	// K is how many calls are sent for each that the other side accepts, 1 or more. Above 1, so that it is
	// noticed when more are accepted again. Default: 2.
	K float64

	// Window is the time over which calls are counted, at least 10 ms. Default: 10 s.
	Window time.Duration
}

// Throttle keeps a client from sending what an overloaded server would only refuse, which costs that server
// almost as much as serving. Make it with [NewThrottle], one for each server or service called.
//
// A call is refused with probability (requests − K·accepts − 5) / (requests + 1), counted per priority over the
// window: nothing is refused while more than one in K is accepted, nor for a handful of refusals. One in 20 is
// always sent, so that recovery is noticed soon after a long outage.
type Throttle struct {
	clock time.Time
	k     float64
	step  int64

	mu     sync.Mutex
	counts [priorities]counts // guarded by mu
}

// counts is a ring of tenths of the window, and their sums.
type counts struct {
	epoch               int64
	requests, accepts   [throttleSteps]int
	requested, accepted int
}

const (
	throttleSteps = 10
	spare         = 5
	mostRefused   = 0.95
)

// NewThrottle returns a throttle that has seen no calls. It fails with a sentence if an option is out of range.
func NewThrottle(o *ThrottleOptions) (*Throttle, error) {
	var c ThrottleOptions
	if o != nil {
		c = *o
	}
	setDefault(&c.K, 2)
	setDefault(&c.Window, 10*time.Second)
	switch {
	case !(c.K >= 1 && c.K <= 1000):
		return nil, fmt.Errorf("limit: K is %v, must be 1 to 1000", c.K)
	case c.Window < 10*time.Millisecond:
		return nil, fmt.Errorf("limit: a window of %v is shorter than 10ms", c.Window)
	}
	return &Throttle{clock: time.Now(), k: c.K, step: int64(c.Window) / throttleSteps}, nil
}

// Allow reports whether to send a call, and counts it. Tell [Throttle.Accepted] if the server takes it.
func (t *Throttle) Allow(p Priority) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.at(p)
	over := float64(c.requested) - t.k*float64(c.accepted) - spare
	refuse := over > 0 && rand.Float64() < min(over/float64(c.requested+1), mostRefused)
	c.requested++
	c.requests[c.epoch%throttleSteps]++
	return !refuse
}

// Accepted counts a call that the server did not refuse for want of capacity, whatever else came of it.
func (t *Throttle) Accepted(p Priority) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.at(p)
	c.accepted++
	c.accepts[c.epoch%throttleSteps]++
}

// at returns the counts of p without what has left the window.
func (t *Throttle) at(p Priority) *counts {
	c := &t.counts[p.known()]
	epoch := int64(time.Since(t.clock)) / t.step
	if epoch-c.epoch >= throttleSteps {
		*c = counts{epoch: epoch}
	}
	for c.epoch < epoch {
		c.epoch++
		i := c.epoch % throttleSteps
		c.requested -= c.requests[i]
		c.accepted -= c.accepts[i]
		c.requests[i], c.accepts[i] = 0, 0
	}
	return c
}
