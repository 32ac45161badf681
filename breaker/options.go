package breaker

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Options tunes a breaker. The zero value, like nil, means the defaults.
type Options struct {
	// Window is the stretch of recent calls that the rates are taken over, [Time] or [Count].
	// Default: Time(10 * time.Second).
	Window Window

	// MinCalls is how many results the window must hold before they are judged. With a Count window it
	// is at most the window's size. Default: 20.
	MinCalls int

	// FailureRate opens the breaker when this share of the calls failed, above 0 and up to 1.
	// Default: 0.5.
	FailureRate float64

	// SlowCall is the time above which a call is slow, whether it failed or not. Default: 0, calls are
	// not timed.
	SlowCall time.Duration

	// SlowRate opens the breaker when this share of the calls was slow. Used only with SlowCall.
	// Default: 1.
	SlowRate float64

	// OpenFor says how long the breaker stays open; opening is 1 at first and grows by one each time the
	// probes fail. It runs under the breaker's lock and must not call the breaker. Default: 5 s, half
	// as much again each time up to 2 min, 20 % up or down by chance.
	OpenFor func(opening int) time.Duration

	// Probes is how many calls are let through after that to decide (or MinCalls, if that is
	// less). Default: 3.
	Probes int

	// ProbeTimeout is when a probe that has not ended counts as failed. Default: as long as the breaker
	// was open before, but at least 1 s and at most 1 min.
	ProbeTimeout time.Duration

	// Classify says what a call's end means. ctx is the caller's. It must be quick and must not panic; a
	// panic counts as a failure. Default: [DefaultClassify].
	Classify func(ctx context.Context, err error) Outcome

	// OnEvent is told of every change. It runs on the goroutine of one of the callers; events never
	// overlap. Default: none.
	OnEvent func(Event)
}

// Outcome is what a finished call says about the dependency.
type Outcome uint8

// Outcomes of a call.
const (
	Success Outcome = iota // it works
	Failure                // it does not
	Ignored                // the call says nothing about it; a probe's place is free again
)

// DefaultClassify counts every error as a failure, except after the caller canceled ctx: then the
// call is ignored. A deadline that passed is a failure, for that is how a stuck dependency looks.
func DefaultClassify(ctx context.Context, err error) Outcome {
	switch {
	case err == nil:
		return Success
	case ctx.Err() == context.Canceled:
		return Ignored
	}
	return Failure
}

// Window is the stretch of recent calls over which rates are taken. Its zero value means the default.
type Window struct {
	calls int
	span  time.Duration
}

// Count is a window of the last n calls, 1 to 100,000.
func Count(n int) Window { return Window{calls: n, span: -1} }

// Time is a window of the calls that ended within the last d, at least 10 ms. It moves in
// steps of a tenth of d.
func Time(d time.Duration) Window { return Window{calls: -1, span: d} }

const (
	maxWindowCalls = 100_000
	maxProbes      = 10_000
	minOpen        = time.Millisecond
	maxOpen        = 365 * 24 * time.Hour
)

func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Window == (Window{}) {
		c.Window = Time(10 * time.Second)
	}
	setDefault(&c.MinCalls, 20)
	setDefault(&c.FailureRate, 0.5)
	setDefault(&c.SlowRate, 1)
	setDefault(&c.Probes, 3)
	if c.OpenFor == nil {
		c.OpenFor = defaultOpenFor
	}
	if c.Classify == nil {
		c.Classify = DefaultClassify
	}
	if err := c.validate(); err != nil {
		return Options{}, err
	}
	if c.Window.calls > 0 {
		c.MinCalls = min(c.MinCalls, c.Window.calls)
	}
	c.Probes = min(c.Probes, c.MinCalls)
	return c, nil
}

func setDefault[T comparable](v *T, d T) {
	if *v == *new(T) {
		*v = d
	}
}

func (o *Options) validate() error {
	switch w := o.Window; {
	case w.span < 0 && (w.calls < 1 || w.calls > maxWindowCalls):
		return fmt.Errorf("breaker: a window of %d calls is outside 1 to %d", w.calls, maxWindowCalls)
	case w.calls < 0 && (w.span < 10*time.Millisecond || w.span > maxOpen):
		return fmt.Errorf("breaker: a window of %v is outside 10ms to %v", w.span, maxOpen)
	case o.MinCalls < 1:
		return fmt.Errorf("breaker: MinCalls is %d, must be 1 or more", o.MinCalls)
	case o.Probes < 1 || o.Probes > maxProbes:
		return fmt.Errorf("breaker: Probes is %d, must be 1 to %d", o.Probes, maxProbes)
	case !(o.FailureRate > 0 && o.FailureRate <= 1):
		return fmt.Errorf("breaker: FailureRate is %v, must be above 0 and at most 1", o.FailureRate)
	case !(o.SlowRate > 0 && o.SlowRate <= 1):
		return fmt.Errorf("breaker: SlowRate is %v, must be above 0 and at most 1", o.SlowRate)
	case o.SlowCall < 0:
		return fmt.Errorf("breaker: SlowCall is %v, must not be negative", o.SlowCall)
	case o.ProbeTimeout < 0:
		return fmt.Errorf("breaker: ProbeTimeout is %v, must not be negative", o.ProbeTimeout)
	}
	return nil
}

func defaultOpenFor(opening int) time.Duration {
	d := 5 * math.Pow(1.5, float64(min(opening, 20)-1))
	d = min(d, 120) * (0.8 + 0.4*rand.Float64())
	return time.Duration(d * float64(time.Second))
}
