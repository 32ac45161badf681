// Package breaker keeps a failing dependency from taking its callers down with it.
//
// A [Breaker] stands in front of one dependency and watches how calls end. While it is closed, calls
// pass. When too large a share of them fails (or is slow), it opens: calls fail at once with an
// [*OpenError] and the dependency is left in peace. After a while a few probes are let through; they
// decide whether it closes again or stays open for longer.
//
//	b, err := breaker.New("kitchen", nil)
//	…
//	err = b.Do(ctx, func(ctx context.Context) error { return kitchen.Accept(ctx, ticket) })
//	if errors.Is(err, breaker.ErrOpen) { … }
//
// # Guarantees
//
//   - The rate is judged after every result, over a sliding window ([Time] or [Count]), once it holds
//     MinCalls results.
//   - Half-open, no more than Probes calls run. A probe that panics, ends its goroutine or hangs longer
//     than ProbeTimeout has failed; the breaker never waits for it.
//   - A result counts only in the period in which its call began: an old call that ends late neither
//     opens nor closes anything.
//   - A caller that cancels its context says nothing about the dependency; the call is not counted.
//     Calls turned away are not counted as failures either.
//   - Events arrive one at a time and in the order of the changes, with no lock held: [Options].OnEvent
//     may call any method of the breaker.
//   - Only the monotonic clock is read. A breaker owns no goroutine; only one that is open for a second or
//     more has a timer, so that refusing a call costs no look at the clock. A call through a closed breaker
//     allocates nothing, nor does a refusal.
//   - The closed breaker counts a success that cannot change its state with one atomic addition.
//
// All methods may be used concurrently.
//
// # What the caller owes
//
// Give each call a deadline: a call that never returns is never counted while the breaker is closed. Use
// one breaker per dependency (or a [Group] with one per host or method), and keep errors that are the
// request's own fault, such as "not found", out of the count with [Options].Classify. Do not
// retry an [*OpenError] against the same dependency before its RetryAfter.
//
// # Debugging
//
// [Breaker.Stats] shows the state, the window and running totals; every [Event] carries the reason of
// the change. [Breaker.SetMode] takes the breaker out of the way ([Disabled]), closes the dependency
// off ([ForcedOpen]) or lets it only measure ([MetricsOnly]); [Breaker.SetState] and [Breaker.Trip] move it by
// hand.
//
// # Compared with resilience4j
//
// States, modes, rates, windows and moves by hand are those of resilience4j, which most breakers are measured
// against. On purpose it differs in this:
//
//   - A result is applied to the period its call began in, not to whatever state the breaker is in when it
//     ends; it is late then, and only counted as such.
//   - A call whose caller canceled it is ignored by default.
//   - Half-open never waits for ever: each probe has a timeout, after which it has failed, and the rates of
//     all probes decide as usual.
//   - Open ends at the first call made when RetryAfter is 0, not after; no timer does it by itself.
//   - The open time grows by default, and varies by chance, so that the callers of one dependency do not come
//     back at once.
//   - A time window moves in tenths of its length, not in seconds.
//   - Events come in order and outside of locks, and tell what an excess was. While only metrics are
//     taken, an excess is told again once the rates have been below.
//   - Trip respects the mode: a result that asks for a pause does not overrule the operator.
//
// # Testing
//
// Inside a testing/synctest bubble time is exact and free, so "five failures, then five seconds later"
// is two lines. Create the breaker inside the bubble.
package breaker
