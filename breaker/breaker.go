package breaker

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Breaker guards one dependency. Make it with [New].
type Breaker struct {
	clock   time.Time // New's moment; its monotonic reading is the origin of all times
	timed   bool      // start times are needed
	clocked bool      // end times are needed, closed
	phase   atomic.Pointer[phase]

	_        [64]byte // what every call reads stays apart from what refusals write
	rejected atomic.Uint64

	mu     sync.Mutex
	m      machine // guarded by mu, but for name and opts, which never change
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
	b.clocked = b.timed || opts.Window.span > 0
	b.m = machine{name: name, opts: opts, note: b.note, publish: b.publish, at: b.at}
	b.m.closed(0, Auto, "")
	b.m.relax()
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
	case p.state == Open && !p.near.Load():
		b.rejected.Add(1)
		return Permit{}, p.refusal
	case p.state != Closed:
		return b.tryProbe(p)
	case p.mode == Disabled:
		return Permit{}, nil
	case b.timed:
		return Permit{b: b, phase: p, start: b.now()}, nil
	}
	return Permit{b: b, phase: p}, nil
}

// tryProbe is Allow while the answer depends on the time or on the probes.
func (b *Breaker) tryProbe(p *phase) (Permit, error) {
	now := b.now()
	if p.state == Open && now < p.until {
		b.rejected.Add(1)
		return Permit{}, p.refusal
	}
	defer b.tell()
	b.lock()
	defer b.unlock()
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
	var now int64
	if b.clocked {
		now = b.now()
	}
	counted := false
	if out == Success && !b.m.opts.slow(time.Duration(now-p.start)) {
		var done bool
		if counted, done = p.phase.quick(now); done {
			return
		}
	}
	if !b.clocked {
		now = b.now()
	}
	if b.settle(now, p, out, counted) {
		b.tell()
	}
}

func (b *Breaker) settle(now int64, p *Permit, out Outcome, counted bool) (changed bool) {
	b.lock()
	defer b.unlock()
	before := b.m.cur
	if counted {
		b.m.settleQuick(now, p.phase)
	} else {
		b.m.settle(now, p.phase, p.slot, p.start, out)
	}
	return b.m.cur != before || before.warned != ""
}

// lock brings everything up to date that quick successes have left.
func (b *Breaker) lock() {
	b.mu.Lock()
	b.m.collect(b.m.cur)
}

func (b *Breaker) unlock() {
	b.m.relax()
	b.mu.Unlock()
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

// SetState moves the breaker to s by hand, whatever its mode was; the mode is [Auto] from then on. The
// state starts afresh, also if it is s already, of which no [Event] tells. Two moves make no sense and are an
// error: from closed to half-open, and from [MetricsOnly] to anything but closed.
func (b *Breaker) SetState(s State) (err error) {
	b.do(func(now int64) {
		p := b.m.cur
		switch {
		case s == Closed:
			b.m.closed(now, Auto, StateSet)
		case s > HalfOpen || p.mode == MetricsOnly || s == HalfOpen && p.mode == Auto && p.state == Closed:
			err = fmt.Errorf("breaker %s cannot go from %v (%v) to %v", b.m.name, p.state, p.mode, s)
		case s == Open:
			b.m.reopen(now, StateSet)
		default:
			b.m.halfOpen(now, StateSet)
		}
	})
	return err
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
	b.lock()
	defer b.unlock()
	now := b.now()
	b.m.advance(now)
	f(now)
}

func (b *Breaker) now() int64           { return int64(time.Since(b.clock)) }
func (b *Breaker) at(n int64) time.Time { return b.clock.Add(time.Duration(n)) }

// publish shows p to callers. Refusals do not read the clock before p.near: on the machines where that
// costs most, it costs ten times the rest. A timer that is late only makes the breaker stay open for
// longer.
func (b *Breaker) publish(p *phase) {
	if old := b.phase.Load(); old != nil && old.alarm != nil {
		old.alarm.Stop()
	}
	if p.state == Open && p.mode == Auto {
		if left := time.Duration(p.until - b.now()); left < alarmFrom {
			p.near.Store(true)
		} else {
			p.alarm = time.AfterFunc(left-left/8, func() { p.near.Store(true) })
		}
	}
	b.phase.Store(p)
}

// alarmFrom is the open time from which a timer is worth its while.
const alarmFrom = time.Second

func (b *Breaker) note(now int64, from, to *phase, why Reason) {
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
