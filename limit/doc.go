// Package limit keeps callers from asking for more than there is: of each caller its share, of a server what it
// can work on, of a client what would only be refused.
//
// A [Keyed] limiter keeps one allowance per key, such as an account, a token's subject or an IP
// address, so that one caller's flood does not use up another's share.
//
//	l, err := limit.NewKeyed[string](limit.Rate{Events: 10, Per: time.Second, Burst: 20}, nil)
//	…
//	if ok, retryAfter, _ := l.Allow(subject); !ok { … 429, Retry-After … }
//
// An [Adaptive] limiter stands before the work of a server and finds out by itself how many calls to let in at a
// time. Under more load than that it goes on serving as much as it can, the critical calls first, and refuses the
// rest before they cost anything. Package rpi has it as an interceptor.
//
//	slot, err := l.Acquire(ctx, "kitchen.Accept", limit.Critical)
//	if err != nil { … 503 … }
//	defer slot.Done(limit.Served)
//
// A [Throttle] is the client's side of that: it no longer sends most of what the server would refuse.
//
// # Guarantees of Keyed
//
//   - In any span d a key is admitted at most Burst + Events·d/Per times. (The algorithm is GCRA: one time per key,
//     no window whose edge could be used twice.)
//   - A refused call costs nothing: after exactly retryAfter the next one is admitted.
//   - Memory is bounded by Options.MaxKeys. A key that has its whole burst again is indistinguishable from
//     one never seen and is forgotten first; if all keys kept are in use, of a random few the one with
//     the smallest debt is forgotten, which gives that key its burst back.
//
// # Guarantees of Adaptive
//
//   - No more calls are under way than the limit, which stays between Min and Max.
//   - The limit follows the resource: calls that take longer than Tolerance times as long as at rest lower it, others
//     raise it while at least half of it is used. What is usual is measured for each kind of call apart, so that a mix of
//     fast and slow ones is not mistaken for load.
//   - A resource that becomes slower or faster for good is noticed also under constant overload: now and then the
//     limiter holds back for some forty calls to see how long they take without the others.
//   - The last tenth of the limit is for critical calls, and sheddable ones leave a quarter to the others. When nothing is
//     free, sheddable calls are refused at once, others wait in a bounded queue, the critical first; when it is full, a
//     critical call takes the place of another.
//   - A resource of 10 slots and 20 ms, offered ten times the 500 calls a second it can do, serves at least 90 % of
//     them, and of the critical ones at least 99 %.
//
// # Guarantees of all
//
// Only the monotonic clock is read, there is no goroutine, and nothing is allocated but for what is kept: new keys and
// kinds, and calls that wait. All methods may be used concurrently.
//
// # What the caller owes
//
// Choose keys that a caller cannot make up freely, and MaxKeys above the number active at a time. The
// limit is per process: n processes admit n times as much. For an Adaptive limiter, end every slot, and tell apart calls
// that wait by design, such as long polls, by not limiting them. Do not believe a priority that strangers name.
//
// # Debugging
//
// [Keyed.Len] is the number of keys kept. Allow answers what remains and how long to wait: pass both on.
// [Adaptive.Stats] shows the limit, what is under way, and how many of each priority were admitted and shed.
//
// # Testing
//
// In a testing/synctest bubble time is exact. Create the limiter inside the bubble.
package limit
