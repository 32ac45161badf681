package breaker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// State is what a breaker does with calls.
type State uint8

// States of a breaker.
const (
	Closed   State = iota // calls pass
	Open                  // calls are refused
	HalfOpen              // a few probes pass, other calls are refused
)

// String returns "closed", "open" or "half-open".
func (s State) String() string { return name(s, "closed", "open", "half-open") }

// Mode is who decides: the breaker or its operator.
type Mode uint8

// Modes of a breaker.
const (
	Auto        Mode = iota // the results decide
	ForcedOpen              // every call is refused, whatever the time
	Disabled                // every call passes, nothing is counted
	MetricsOnly             // every call passes and is counted; a rate that is reached is only an event
)

// String returns "auto", "forced-open", "disabled" or "metrics-only".
func (m Mode) String() string { return name(m, "auto", "forced-open", "disabled", "metrics-only") }

func name[T ~uint8](v T, names ...string) string {
	if int(v) < len(names) {
		return names[v]
	}
	return "unknown"
}

// Breaker guards one dependency. Make it with [New].
type Breaker struct {
	clock    time.Time // New's moment; its monotonic reading is the origin of all times
	timed    bool      // start times are needed
	phase    atomic.Pointer[phase]
	rejected atomic.Uint64

	mu     sync.Mutex
	m      machine // guarded by mu
	total  Totals  // guarded by mu
	events outbox
}

// New returns a closed breaker for the named dependency. It fails with a sentence if an option is out of
// range.
func New(name string, o *Options) (*Breaker, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return newBreaker(name, opts), nil
}

func newBreaker(name string, opts Options) *Breaker {
	b := &Breaker{clock: time.Now(), timed: opts.SlowCall > 0}
	b.m = machine{name: name, opts: opts, note: b.note, publish: b.phase.Store, at: b.at}
	b.m.closed(0, Auto, "")
	return b
}

// Do calls f unless the breaker is open, and counts how f ends. It returns f's error unchanged, or an
// [*OpenError] without calling f. If ctx has ended already, it returns ctx's error and nothing
// else happens. A panic in f passes through and counts as a failure, as does runtime.Goexit.
func (b *Breaker) Do(ctx context.Context, f func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p, err := b.Allow()
	if err != nil {
		return err
	}
	defer p.abandon()
	err = f(ctx)
	p.Done(ctx, err)
	return err
}

// Call is [Breaker.Do] for a function with a result.
func Call[T any](ctx context.Context, b *Breaker, f func(context.Context) (T, error)) (T, error) {
	var zero T
	if err := ctx.Err(); err != nil {
		return zero, err
	}
	p, err := b.Allow()
	if err != nil {
		return zero, err
	}
	defer p.abandon()
	v, err := f(ctx)
	p.Done(ctx, err)
	return v, err
}

// Permit is the right to make one call, and the duty to say how it ended.
type Permit struct {
	b     *Breaker // nil: nothing to report
	phase *phase
	slot  int
	start int64
}

// Allow is the two-step form of [Breaker.Do], for calls that do not fit into one function, such as streams.
// Each permit must be ended by [Permit.Done] and not be copied; the error, if any, is an [*OpenError].
func (b *Breaker) Allow() (Permit, error) {
	p := b.phase.Load()
	switch {
	case p.state == Closed && p.mode == Disabled:
		return Permit{}, nil
	case p.state == Closed && !b.timed:
		return Permit{b: b, phase: p}, nil
	}
	now := b.now()
	switch {
	case p.state == Closed:
		return Permit{b: b, phase: p, start: now}, nil
	case p.state == Open && now < p.until:
		b.rejected.Add(1)
		return Permit{}, p.refusal
	}
	defer b.tell()
	b.mu.Lock()
	defer b.mu.Unlock()
	p, slot, refusal := b.m.acquire(now)
	if refusal != nil {
		b.rejected.Add(1)
		return Permit{}, refusal
	}
	return Permit{b: b, phase: p, slot: slot, start: now}, nil
}

// Done reports how the call ended; ctx is the caller's, to tell a cancellation from a failure. Only
// the first report of a permit counts. The zero Permit may be done, too.
func (p *Permit) Done(ctx context.Context, err error) {
	if p.b == nil {
		return
	}
	p.settle(p.b.m.opts.Classify(ctx, err)) // opts never change
}

// abandon ends a permit whose call did not return: it panicked or ended its goroutine.
func (p *Permit) abandon() {
	if p.b != nil {
		p.settle(Failure)
	}
}

func (p *Permit) settle(out Outcome) {
	b := p.b
	p.b = nil
	if b.settle(p, out) {
		b.tell()
	}
}

func (b *Breaker) settle(p *Permit, out Outcome) (changed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.m.cur
	counted := b.m.settle(b.now(), p.phase, p.slot, p.start, out)
	b.total.add(counted, out)
	return b.m.cur != before || before.warned
}

// Trip opens the breaker for d, for instance because the dependency asked to be left alone until then. It
// never shortens the time a breaker is open, and does nothing unless the mode is Auto.
func (b *Breaker) Trip(d time.Duration) {
	b.do(func(now int64) {
		if p := b.m.cur; p.mode == Auto && (p.state != Open || p.until-now < int64(d)) {
			b.m.open(now, d, Tripped)
		}
	})
}

// Reset closes the breaker with an empty window and mode Auto.
func (b *Breaker) Reset() {
	b.do(func(now int64) { b.m.closed(now, Auto, WasReset) })
}

// SetMode changes who decides. Every change of mode starts with an empty window; [Auto] starts closed.
func (b *Breaker) SetMode(m Mode) {
	b.do(func(now int64) {
		switch {
		case m == b.m.cur.mode || m > MetricsOnly:
		case m == ForcedOpen:
			b.m.forcedOpen(now)
		default:
			b.m.closed(now, m, ModeChanged)
		}
	})
}

// Name returns the name given to [New].
func (b *Breaker) Name() string { return b.m.name }

// State returns the current state. An open breaker whose time is over stays open until the next call.
func (b *Breaker) State() State {
	p := b.phase.Load()
	if p.state == HalfOpen { // a probe may hang
		b.do(func(int64) { p = b.m.cur })
	}
	return p.state
}

func (b *Breaker) do(f func(now int64)) {
	defer b.tell()
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.m.advance(now)
	f(now)
}

func (b *Breaker) now() int64           { return int64(time.Since(b.clock)) }
func (b *Breaker) at(n int64) time.Time { return b.clock.Add(time.Duration(n)) }

func (b *Breaker) note(now int64, from, to *phase, why Reason) {
	if to.state == Open && to.mode == Auto {
		b.total.Openings++
	}
	if b.m.opts.OnEvent == nil {
		return
	}
	b.events.put(Event{
		Breaker: b.m.name, At: b.at(now), From: from.state, To: to.state, Mode: to.mode, Reason: why,
	})
}

func (b *Breaker) tell() {
	if f := b.m.opts.OnEvent; f != nil {
		b.events.deliver(f)
	}
}
