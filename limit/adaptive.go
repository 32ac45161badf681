package limit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrShed is returned for a call that a limiter refuses because too many are under way.
var ErrShed = errors.New("limit: too many calls are under way")

// AdaptiveOptions tune an Adaptive limiter. The zero value, like nil, means the defaults.
type AdaptiveOptions struct {
	// Initial is the limit to begin with. Default: 20, within Min and Max.
	Initial int

	// Min and Max are what the limit stays between. Default: 10 and 1,000.
	Min, Max int

	// Queue is how many calls may wait for a slot; a negative one means none. Default: 64.
	Queue int

	// Wait is how long a call waits at most. Default: 50 ms.
	Wait time.Duration

	// Tolerance is how many times as long as at rest calls may take before the limit falls. Default: 1.5.
	Tolerance float64

	// Probe is how long the limiter, while always busy, works with an old measure of how long calls take at
	// rest before it takes a new one; or 200 times as long as calls take, if that is more. Default: 10 s.
	Probe time.Duration
}

// Adaptive limits how many calls are under way to as many as the resource behind it serves without making
// them wait for each other. It finds that number itself. Make it with [NewAdaptive].
type Adaptive struct {
	clock time.Time
	opts  AdaptiveOptions

	mu       sync.Mutex
	inUse    int
	waiting  [2][]*waiter // Default, Critical; guarded by mu, as all below
	gradient gradient
	kinds    map[string]*kind
	admitted [priorities]uint64
	shed     [priorities]uint64
}

// waiter is a call in the queue. slot is set, or shed, before ready is closed.
type waiter struct {
	kind  *kind
	ready chan struct{}
	slot  Slot
	shed  bool
}

// NewAdaptive returns a limiter with nothing under way. It fails with a sentence if an option is out of range.
func NewAdaptive(o *AdaptiveOptions) (*Adaptive, error) {
	var c AdaptiveOptions
	if o != nil {
		c = *o
	}
	setDefault(&c.Min, 10)
	setDefault(&c.Max, max(1000, c.Min))
	setDefault(&c.Initial, min(max(20, c.Min), c.Max))
	setDefault(&c.Queue, 64)
	setDefault(&c.Wait, 50*time.Millisecond)
	setDefault(&c.Tolerance, 1.5)
	setDefault(&c.Probe, 10*time.Second)
	switch {
	case c.Min < 1 || c.Max < c.Min || c.Max > maxLimit:
		return nil, fmt.Errorf("limit: a limit between %d and %d is not within 1 to %d", c.Min, c.Max, maxLimit)
	case c.Initial < c.Min || c.Initial > c.Max:
		return nil, fmt.Errorf("limit: Initial is %d, must be %d to %d", c.Initial, c.Min, c.Max)
	case c.Queue > maxQueue:
		return nil, fmt.Errorf("limit: Queue is %d, must be at most %d", c.Queue, maxQueue)
	case c.Wait < 0 || c.Probe < 0:
		return nil, fmt.Errorf("limit: Wait is %v and Probe is %v, must not be negative", c.Wait, c.Probe)
	case !(c.Tolerance >= 1 && c.Tolerance <= 100):
		return nil, fmt.Errorf("limit: Tolerance is %v, must be 1 to 100", c.Tolerance)
	}
	return &Adaptive{
		clock: time.Now(), opts: c, kinds: map[string]*kind{},
		gradient: gradient{limit: float64(c.Initial), least: float64(c.Min), most: float64(c.Max),
			tolerance: c.Tolerance, every: int64(c.Probe), starting: true},
	}, nil
}

const (
	maxLimit = 1_000_000
	maxQueue = 10_000
	maxKinds = 1024 // more share one measure
)

func setDefault[T comparable](v *T, d T) {
	if *v == *new(T) {
		*v = d
	}
}

// Acquire admits a call, at once or after a wait in the queue, or refuses it with [ErrShed]; if ctx ends while
// it waits, with ctx's error. kind is what the time it takes is compared with others of, such as the name of a
// procedure. An admitted call holds its slot until [Slot.Done].
func (l *Adaptive) Acquire(ctx context.Context, kind string, p Priority) (Slot, error) {
	p = p.known()
	now := l.now()
	l.mu.Lock()
	k := l.kind(kind)
	if l.inUse < l.room(p) {
		l.admitted[p]++
		s := l.take(now, k)
		l.mu.Unlock()
		return s, nil
	}
	w := l.enqueue(k, p)
	if w == nil {
		l.shed[p]++
	}
	l.mu.Unlock()
	if w == nil {
		return Slot{}, ErrShed
	}
	return l.wait(ctx, w, p)
}

// room is how many slots calls of a priority may fill: the last tenth is for critical ones, and sheddable ones
// leave a quarter to others. Probing holds back all but the critical.
func (l *Adaptive) room(p Priority) int {
	n := int(l.gradient.limit)
	if p == Critical {
		return n
	}
	if l.gradient.probing > 0 {
		n = l.gradient.quiet()
	}
	if p == Sheddable {
		return max(n-(n+3)/4, 1)
	}
	return max(n-(n+9)/10, 1)
}

func (l *Adaptive) take(now int64, k *kind) Slot {
	l.inUse++
	l.gradient.peak = max(l.gradient.peak, l.inUse)
	return Slot{l: l, kind: k, start: now, quiet: l.inUse <= l.gradient.quiet()}
}

// enqueue puts a call into the queue, in the place of the latest of less priority if it is full. It returns nil
// if there is no place.
func (l *Adaptive) enqueue(k *kind, p Priority) *waiter {
	if p == Sheddable || l.opts.Queue < 0 {
		return nil
	}
	if len(l.waiting[Default])+len(l.waiting[Critical]) >= l.opts.Queue {
		last := len(l.waiting[Default]) - 1
		if p != Critical || last < 0 {
			return nil
		}
		out := l.waiting[Default][last]
		l.waiting[Default] = l.waiting[Default][:last]
		l.shed[Default]++
		out.shed = true
		close(out.ready)
	}
	w := &waiter{kind: k, ready: make(chan struct{})}
	l.waiting[p] = append(l.waiting[p], w)
	return w
}

func (l *Adaptive) wait(ctx context.Context, w *waiter, p Priority) (Slot, error) {
	timer := time.NewTimer(l.opts.Wait)
	defer timer.Stop()
	err := ErrShed
	select {
	case <-w.ready:
	case <-timer.C:
	case <-ctx.Done():
		err = ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case w.shed:
		return Slot{}, ErrShed
	case w.slot.l != nil: // whatever has woken us
		return w.slot, nil
	}
	for i, other := range l.waiting[p] {
		if other == w {
			l.waiting[p] = append(l.waiting[p][:i], l.waiting[p][i+1:]...)
			break
		}
	}
	if err == ErrShed {
		l.shed[p]++
	}
	return Slot{}, err
}

// admit gives free slots to those who wait.
func (l *Adaptive) admit(now int64) {
	for _, p := range [...]Priority{Critical, Default} {
		for len(l.waiting[p]) > 0 && l.inUse < l.room(p) {
			w := l.waiting[p][0]
			l.waiting[p] = append(l.waiting[p][:0], l.waiting[p][1:]...)
			l.admitted[p]++
			w.slot = l.take(now, w.kind)
			close(w.ready)
		}
	}
}

func (l *Adaptive) kind(name string) *kind {
	k := l.kinds[name]
	if k == nil {
		if len(l.kinds) >= maxKinds {
			name = ""
			if k = l.kinds[name]; k != nil {
				return k
			}
		}
		k = &kind{}
		l.kinds[name] = k
	}
	return k
}

func (l *Adaptive) now() int64 { return int64(time.Since(l.clock)) }

// Slot is the place of a call under way.
type Slot struct {
	l     *Adaptive // nil: given back
	kind  *kind
	start int64
	quiet bool // few others were under way
}

// Outcome is what the end of a call says about the load.
type Outcome uint8

// Outcomes of a call.
const (
	Ignored Outcome = iota // nothing: it failed early, or its caller gave up
	Served                 // it took as long as such calls take now
	Overran                // it was not done in time
)

// Done gives the slot back. Only the first time counts; the zero Slot may be done, too.
func (s *Slot) Done(o Outcome) {
	l := s.l
	if l == nil {
		return
	}
	s.l = nil
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inUse--
	switch o {
	case Served:
		l.gradient.served(now, s.start, s.kind, s.quiet, l.inUse)
	case Overran:
		l.gradient.sample(now, s.start, steepest, l.inUse)
	}
	l.gradient.advance(now)
	l.admit(now)
}

// AdaptiveStats is a snapshot of an Adaptive limiter.
type AdaptiveStats struct {
	Limit, InUse, Waiting int
	Admitted, Shed        [3]uint64 // since it was made, by Priority
}

// Stats returns a consistent snapshot.
func (l *Adaptive) Stats() AdaptiveStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return AdaptiveStats{
		Limit: int(l.gradient.limit), InUse: l.inUse, Waiting: len(l.waiting[Default]) + len(l.waiting[Critical]),
		Admitted: l.admitted, Shed: l.shed,
	}
}
