package retry

import (
	"context"
	"math/rand/v2"
	"time"
)

// Policy says what is repeated, how often and how soon.
type Policy struct {
	// Retry judges an error that f returned. Required: without it nothing is repeated.
	Retry func(err error) Verdict

	// Attempts is how many calls are made at most, the first included. Default: 3.
	Attempts int

	// Backoff is the longest wait before the second attempt; it doubles with each further one up
	// to MaxBackoff. The wait is a random part of it. Default: 50 ms.
	Backoff time.Duration

	// MaxBackoff bounds the wait, though not a hint. Default: 2 s.
	MaxBackoff time.Duration

	// PerAttempt bounds each attempt by a context of its own. Default: 0, ctx alone bounds it.
	PerAttempt time.Duration

	// Budget is shared by all calls to one dependency. Default: one that belongs to this Policy.
	Budget *Budget

	// OnRetry is told of each attempt that failed. Default: nobody is.
	OnRetry func(Attempt)

	own Budget
}

// Verdict says whether to repeat a call: [Stop], [Again], or not sooner than [After].
type Verdict time.Duration

// Verdicts on an error.
const (
	Stop  Verdict = -1 // the error stands
	Again Verdict = 0  // repeat after the usual wait
)

// After repeats the call, but not within d: the dependency asked for that.
func After(d time.Duration) Verdict { return Verdict(max(d, 0)) }

// Attempt describes a failed attempt.
type Attempt struct {
	Number int // 1 is the first call
	Err    error
	Next   Next
	Wait   time.Duration // before the next attempt, if there is one
}

// Next says what follows a failed attempt.
type Next string

// What follows a failed attempt.
const (
	Repeats      Next = "repeats"
	NotRetryable Next = "not retryable"          // Policy.Retry said Stop, or ctx has ended
	OutOfTries   Next = "attempts used up"       // that was Policy.Attempts
	OutOfBudget  Next = "budget used up"         // the dependency is in enough trouble
	OutOfTime    Next = "no time left"           // ctx would end before the next attempt
	Canceled     Next = "canceled while waiting" // ctx ended before the next attempt
)

// Do calls f until it succeeds or p gives up, and returns f's last error. It returns ctx's error only if ctx
// had ended before the first attempt.
func Do(ctx context.Context, p *Policy, f func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	budget := p.Budget
	if budget == nil {
		budget = &p.own
	}
	budget.Call()
	for n := 1; ; n++ {
		err := p.attempt(ctx, f)
		if err == nil {
			return nil
		}
		a := p.judge(ctx, budget, n, err)
		if a.Next == Repeats && !wait(ctx, a.Wait) {
			a.Next = Canceled
		}
		if p.OnRetry != nil {
			p.OnRetry(a)
		}
		if a.Next != Repeats {
			return err
		}
	}
}

// Call is [Do] for a function with a result.
func Call[T any](ctx context.Context, p *Policy, f func(context.Context) (T, error)) (T, error) {
	var v T
	err := Do(ctx, p, func(ctx context.Context) (err error) {
		v, err = f(ctx)
		return err
	})
	return v, err
}

func (p *Policy) attempt(ctx context.Context, f func(context.Context) error) error {
	if p.PerAttempt > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.PerAttempt)
		defer cancel()
	}
	return f(ctx)
}

func (p *Policy) judge(ctx context.Context, budget *Budget, n int, err error) Attempt {
	a := Attempt{Number: n, Err: err}
	attempts := p.Attempts
	if attempts == 0 {
		attempts = 3
	}
	verdict := Stop
	if p.Retry != nil && ctx.Err() == nil {
		verdict = p.Retry(err)
	}
	if verdict < 0 {
		a.Next = NotRetryable
		return a
	}
	a.Wait = p.backoff(n, verdict)
	deadline, bounded := ctx.Deadline()
	switch {
	case n >= attempts:
		a.Next = OutOfTries
	case bounded && time.Until(deadline) <= a.Wait:
		a.Next = OutOfTime
	case !budget.Retry():
		a.Next = OutOfBudget
	default:
		a.Next = Repeats
	}
	return a
}

// backoff is full jitter over a doubling bound, on top of the hint.
func (p *Policy) backoff(n int, hint Verdict) time.Duration {
	bound, most := p.Backoff, p.MaxBackoff
	if bound <= 0 {
		bound = 50 * time.Millisecond
	}
	if most <= 0 {
		most = 2 * time.Second
	}
	for ; n > 1 && bound < most; n-- {
		bound *= 2
	}
	jitter := rand.N(min(bound, most) + 1)
	return min(time.Duration(hint), maxHint) + jitter
}

const maxHint = 365 * 24 * time.Hour // so that no sum overflows

func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return ctx.Err() == nil
	}
}
