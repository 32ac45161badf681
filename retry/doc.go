// Package retry repeats a call that failed for a passing reason, without making an outage worse.
//
// Waits between attempts grow and are random, so that callers do not come back in step. A [Budget] shared
// by all calls to a dependency bounds how much extra load retries may cause: when everything fails,
// retries are a small share of the calls instead of a multiple.
//
//	p := &retry.Policy{Retry: func(err error) retry.Verdict {
//		if errors.Is(err, errBusy) {
//			return retry.Again
//		}
//		return retry.Stop
//	}}
//	err := retry.Do(ctx, p, func(ctx context.Context) error { return client.Reserve(ctx, seat) })
//
// # Guarantees
//
//   - Only errors that Policy.Retry asks to repeat are repeated, and never more than Policy.Attempts calls
//     are made.
//   - Over its sliding window of 10 s a Budget grants no more retries than 20 % of the calls plus 10 a second.
//   - Do never waits for longer than ctx allows: if the next attempt could not begin before ctx's deadline,
//     Do returns at once.
//   - A hint such as Retry-After is a lower bound of the wait; chance only adds to it.
//   - The error is f's last one, unchanged.
//   - Hedge makes a second call beside a slow one only if the Budget grants it a retry.
//
// A Policy and a Budget may be used by many goroutines at once.
//
// # What the caller owes
//
// Repeat only what may be repeated: a read, an idempotent write, or a call that provably did not reach its
// target. Use one Budget per dependency, and retry at one layer only: three layers of three attempts are 27 calls. Do
// not copy a Policy or a Budget after first use.
//
// # Debugging
//
// Policy.OnRetry sees each attempt that failed and the wait before the next, or why there is none.
//
// # Testing
//
// In a testing/synctest bubble the waits take no real time.
package retry
