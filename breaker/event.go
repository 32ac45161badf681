package breaker

import (
	"sync"
	"time"
)

// Event is one change of a breaker.
type Event struct {
	Seq      uint64 // 1, 2, 3 … per breaker; a gap means that OnEvent was too slow and events were dropped
	Breaker  string
	At       time.Time
	From, To State
	Mode     Mode // after the change
	Reason   Reason
}

// Reason says why a breaker changed.
type Reason string

// Reasons of an Event.
const (
	TooManyFailures Reason = "too many failures"  // the failure rate was reached
	TooManySlow     Reason = "too many slow"      // the slow rate was reached
	OpenElapsed     Reason = "open time elapsed"  // the first probe goes out
	ProbesPassed    Reason = "probes passed"      // half-open to closed
	Tripped         Reason = "tripped by Trip"    // somebody called Trip
	WasReset        Reason = "reset by Reset"     // somebody called Reset
	StateSet        Reason = "moved by SetState"  // somebody called SetState
	ModeChanged     Reason = "changed by SetMode" // somebody called SetMode
)

const maxQueuedEvents = 256

// outbox hands events over one at a time, in order, with no lock held: whoever finds it idle delivers
// until it is empty, everybody else only leaves events behind.
type outbox struct {
	mu      sync.Mutex
	seq     uint64
	queue   []Event
	running bool
}

func (q *outbox) put(e Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.seq++
	e.Seq = q.seq
	if len(q.queue) == maxQueuedEvents {
		q.queue = append(q.queue[:0], q.queue[1:]...)
	}
	q.queue = append(q.queue, e)
}

func (q *outbox) deliver(to func(Event)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running {
		return
	}
	q.running = true
	defer func() { q.running = false }() // also after a panic or Goexit in to: the next event goes on
	for len(q.queue) > 0 {
		e := q.queue[0]
		q.queue = q.queue[1:]
		func() {
			q.mu.Unlock()
			defer q.mu.Lock()
			to(e)
		}()
	}
}
