package retry

import (
	"context"
	"time"
)

// Hedge calls f, and once more beside it if it has not returned after delay and
// b grants a retry. It returns the first success, or the error of the last to
// fail; a failure before the second call is the end. The context of the other
// call is then canceled, and nothing waits for it: f must be safe to run twice
// at once. With a delay of 0 or less there is no second call.
func Hedge[T any](ctx context.Context, delay time.Duration, b *Budget, f func(context.Context) (T, error)) (T, error) {
	if delay <= 0 {
		return f(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		v   T
		err error
	}
	results := make(chan result, 2) // so that who loses can leave
	call := func() {
		v, err := f(ctx)
		results <- result{v, err}
	}
	go call()
	running := 1
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for {
		select {
		case r := <-results:
			if running--; r.err == nil || running == 0 {
				return r.v, r.err
			}
		case <-timer.C:
			if ctx.Err() == nil && b.Retry() {
				running++
				go call()
			}
		}
	}
}
