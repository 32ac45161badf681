package breaker

import (
	"math"
	"time"
)

// A window holds the latest results and their sums. Times are monotonic nanoseconds.
type window struct {
	sum tally

	calls []result // count window: a ring
	next  int      // the place of the next result

	steps []tally // time window: a ring of tenths of the span
	step  int64   // nanoseconds each
	epoch int64   // number of the newest
}

type tally struct{ calls, failures, slow int64 }

// A result is a set of bits.
type result uint8

const (
	called result = 1 << iota
	failure
	slowness
)

const timeSteps = 10

func newWindow(w Window, now int64) window {
	if w.calls > 0 {
		return window{calls: make([]result, w.calls)}
	}
	step := int64(w.span) / timeSteps
	return window{steps: make([]tally, timeSteps), step: step, epoch: now / step}
}

func (w *window) add(now int64, failed, slow bool) {
	r := called
	if failed {
		r |= failure
	}
	if slow {
		r |= slowness
	}
	if w.step == 0 {
		w.push(r)
		return
	}
	w.advance(now)
	w.steps[w.epoch%timeSteps].add(r.tally())
	w.sum.add(r.tally())
}

// addSuccesses adds n quick successes where the window stands.
func (w *window) addSuccesses(n uint64) {
	if w.step == 0 {
		for range min(n, uint64(len(w.calls))) {
			w.push(called)
		}
		return
	}
	t := tally{calls: int64(n)}
	w.steps[w.epoch%timeSteps].add(t)
	w.sum.add(t)
}

func (w *window) push(r result) {
	w.sum.sub(w.calls[w.next].tally())
	w.calls[w.next] = r
	w.sum.add(r.tally())
	if w.next++; w.next == len(w.calls) {
		w.next = 0
	}
}

// end is when the window will have moved on.
func (w *window) end() int64 {
	if w.step == 0 {
		return math.MaxInt64
	}
	return (w.epoch + 1) * w.step
}

// advance forgets what has left a time window by now.
func (w *window) advance(now int64) {
	if w.step == 0 {
		return
	}
	epoch := now / w.step
	if epoch-w.epoch >= timeSteps {
		w.epoch = epoch
		w.sum = tally{}
		clear(w.steps)
		return
	}
	for w.epoch < epoch {
		w.epoch++
		old := &w.steps[w.epoch%timeSteps]
		w.sum.sub(*old)
		*old = tally{}
	}
}

func (r result) tally() tally {
	return tally{calls: int64(r & 1), failures: int64(r >> 1 & 1), slow: int64(r >> 2)}
}

func (t *tally) add(o tally) {
	t.calls += o.calls
	t.failures += o.failures
	t.slow += o.slow
}

func (t *tally) sub(o tally) {
	t.calls -= o.calls
	t.failures -= o.failures
	t.slow -= o.slow
}

// exceeds reports whether a rate has reached its threshold, and which. Division, not multiplication:
// 3 of 30 must be exactly 0.1.
func (t tally) exceeds(o *Options) (Reason, bool) {
	n := float64(t.calls)
	switch {
	case t.calls == 0:
		return "", false
	case float64(t.failures)/n >= o.FailureRate:
		return TooManyFailures, true
	case o.SlowCall > 0 && float64(t.slow)/n >= o.SlowRate:
		return TooManySlow, true
	}
	return "", false
}

func (o *Options) slow(took time.Duration) bool { return o.SlowCall > 0 && took > o.SlowCall }
