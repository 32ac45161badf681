package breaker

import "time"

// A window holds the latest results and their sums. Times are monotonic nanoseconds.
type window struct {
	sum   tally
	ring  []tally // per call (count window) or per tenth of the span (time window)
	next  int     // count window: the place of the next result
	step  int64   // time window: nanoseconds per place
	epoch int64   // time window: number of the newest step
}

type tally struct{ calls, failures, slow int64 }

const timeSteps = 10

func newWindow(w Window, now int64) window {
	if w.calls > 0 {
		return window{ring: make([]tally, w.calls)}
	}
	step := int64(w.span) / timeSteps
	return window{ring: make([]tally, timeSteps), step: step, epoch: now / step}
}

func (w *window) add(now int64, failed, slow bool) {
	t := tally{calls: 1}
	if failed {
		t.failures = 1
	}
	if slow {
		t.slow = 1
	}
	if w.step == 0 {
		w.sum.sub(w.ring[w.next])
		w.ring[w.next] = t
		if w.next++; w.next == len(w.ring) {
			w.next = 0
		}
	} else {
		w.advance(now)
		w.ring[w.epoch%timeSteps].add(t)
	}
	w.sum.add(t)
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
		clear(w.ring)
		return
	}
	for w.epoch < epoch {
		w.epoch++
		old := &w.ring[w.epoch%timeSteps]
		w.sum.sub(*old)
		*old = tally{}
	}
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
