package retry

import (
	"sync"
	"time"
)

// Budget bounds retries to a share of the calls. Its zero value is ready to use and means the defaults; the
// fields must not change after first use.
type Budget struct {
	// Ratio is how many retries each call earns. Default: 0.2; negative: none.
	Ratio float64
	// PerSecond is how many retries are granted besides, for dependencies that are rarely
	// called. Default: 10; negative: none.
	PerSecond float64

	mu      sync.Mutex
	origin  time.Time            // of the steps
	step    int64                // number of the newest step
	calls   [budgetSteps]float64 // per second
	retries [budgetSteps]float64
}

const budgetSteps = 10 // of a second each

// Call notes a call that is not a retry.
func (b *Budget) Call() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls[b.advance()]++
}

// Retry takes one retry out of the budget and reports whether there was one.
func (b *Budget) Retry() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.advance()
	if sum(b.retries)+1 > b.granted() {
		return false
	}
	b.retries[now]++
	return true
}

func (b *Budget) granted() float64 {
	return orDefault(b.Ratio, 0.2)*sum(b.calls) + orDefault(b.PerSecond, 10)*budgetSteps
}

// advance forgets what is older than the window and returns the place of the current second.
func (b *Budget) advance() int {
	if b.origin.IsZero() {
		b.origin = time.Now()
	}
	step := int64(time.Since(b.origin) / time.Second)
	if step-b.step >= budgetSteps {
		clear(b.calls[:])
		clear(b.retries[:])
		b.step = step
	}
	for b.step < step {
		b.step++
		b.calls[b.step%budgetSteps], b.retries[b.step%budgetSteps] = 0, 0
	}
	return int(step % budgetSteps)
}

func sum(a [budgetSteps]float64) (s float64) {
	for _, v := range a {
		s += v
	}
	return s
}

func orDefault(v, d float64) float64 {
	switch {
	case v == 0:
		return d
	case v > 0:
		return v
	}
	return 0 // negative and NaN
}
