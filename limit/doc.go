// Package limit admits each caller at its own steady rate.
//
// A [Keyed] limiter keeps one allowance per key, such as an account, a token's subject or an IP
// address, so that one caller's flood does not use up another's share.
//
//	l, err := limit.NewKeyed[string](limit.Rate{Events: 10, Per: time.Second, Burst: 20}, nil)
//	…
//	if ok, retryAfter, _ := l.Allow(subject); !ok { … 429, Retry-After … }
//
// # Guarantees
//
//   - In any span d a key is admitted at most Burst + Events·d/Per times. (The algorithm is GCRA: one time per key,
//     no window whose edge could be used twice.)
//   - A refused call costs nothing: after exactly retryAfter the next one is admitted.
//   - Memory is bounded by Options.MaxKeys. A key that has its whole burst again is indistinguishable from
//     one never seen and is forgotten first; if all keys kept are in use, of a random few the one with
//     the smallest debt is forgotten, which gives that key its burst back.
//   - Only the monotonic clock is read; there is no goroutine, and Allow does not allocate but for the
//     entry of a new key.
//
// All methods may be used concurrently.
//
// # What the caller owes
//
// Choose keys that a caller cannot make up freely, and MaxKeys above the number active at a time. The
// limit is per process: n processes admit n times as much.
//
// # Debugging
//
// [Keyed.Len] is the number of keys kept. Allow answers what remains and how long to wait: pass both on.
//
// # Testing
//
// In a testing/synctest bubble time is exact. Create the limiter inside the bubble.
package limit
