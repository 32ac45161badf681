package rpi

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
)

// Fault is a way in which calls go wrong on purpose. What it does to a call
// happens in the order of the fields.
type Fault struct {
	Match func(connect.Spec) bool // which calls. Default: all
	Rate  float64                 // what share of them, above 0 and up to 1
	Times int                     // how many at most. Default: any number

	Latency time.Duration // the call is held up first
	After   bool          // the call is made before it fails: its effects stay, its answer is lost
	Err     error         // it fails with this
	Drop    bool          // it fails by silence, until its deadline or its caller ends it
}

// Faults injects faults into calls, on the server's side or the client's. It
// injects none until Set. It is safe for concurrent use.
type Faults struct {
	active   atomic.Pointer[[]Fault]
	injected atomic.Uint64

	mu   sync.Mutex
	left []int // times, by fault; guarded by mu
}

// Set has faults happen in place of those set before, the first that fits a
// call; none means no more. It changes nothing and fails with a sentence if one
// makes no sense.
func (f *Faults) Set(faults ...Fault) error {
	for i, one := range faults {
		switch {
		case !(one.Rate > 0 && one.Rate <= 1):
			return fmt.Errorf("rpi: fault %d has a rate of %v, must be above 0 and at most 1", i, one.Rate)
		case one.Times < 0 || one.Latency < 0:
			return fmt.Errorf("rpi: fault %d happens %d times for %v, must not be negative", i, one.Times, one.Latency)
		case one.After && one.Err == nil && !one.Drop:
			return fmt.Errorf("rpi: fault %d loses an answer, but says not by which error", i)
		case one.Err != nil && one.Drop:
			return fmt.Errorf("rpi: fault %d is an error and silence at once", i)
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left = make([]int, len(faults))
	for i, one := range faults {
		f.left[i] = one.Times
	}
	set := append([]Fault(nil), faults...)
	f.active.Store(&set)
	return nil
}

// Injected returns how many calls a fault has happened to.
func (f *Faults) Injected() uint64 { return f.injected.Load() }

// choose returns the fault that happens to a call, nil if none does.
func (f *Faults) choose(spec connect.Spec) *Fault {
	active := f.active.Load()
	if active == nil {
		return nil
	}
	for i := range *active {
		one := &(*active)[i]
		if one.Match != nil && !one.Match(spec) || one.Rate < 1 && rand.Float64() >= one.Rate {
			continue
		}
		if one.Times > 0 && !f.spend(active, i) {
			continue
		}
		f.injected.Add(1)
		return one
	}
	return nil
}

func (f *Faults) spend(active *[]Fault, i int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.active.Load() != active || f.left[i] == 0 {
		return false
	}
	f.left[i]--
	return true
}

// hold waits for the latency; it ends early, with an error, if ctx does.
func (one *Fault) hold(ctx context.Context) error {
	if one.Latency == 0 {
		return nil
	}
	timer := time.NewTimer(one.Latency)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return contextError(ctx.Err())
	}
}

// fails reports whether calls end otherwise than they would have.
func (one *Fault) fails() bool { return one.Err != nil || one.Drop }

// verdict is how a call ends that fails.
func (one *Fault) verdict(ctx context.Context) error {
	if one.Drop {
		<-ctx.Done()
		return contextError(ctx.Err())
	}
	return one.Err
}

// Server injects faults where calls are served: an interceptor for
// ServerOptions.
func (f *Faults) Server(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		one := f.choose(spec)
		if one == nil {
			return next(ctx, spec, stream)
		}
		if err := one.hold(ctx); err != nil {
			return err
		}
		if !one.fails() {
			return next(ctx, spec, stream)
		}
		if one.After {
			_ = next(ctx, spec, muted{stream}) // lost with the answer
		}
		return one.verdict(ctx)
	}
}

// muted is a server stream whose answers are lost.
type muted struct{ connect.ServerStream }

func (muted) SendHeaders() error { return nil }
func (muted) Send(any) error     { return nil }

// Client injects faults where calls are made: an interceptor for CallOptions.
func (f *Faults) Client(next connect.ClientFunc) connect.ClientFunc {
	return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
		one := f.choose(spec)
		if one == nil {
			return next(ctx, spec)
		}
		if err := one.hold(ctx); err != nil {
			return nil, err
		}
		if one.fails() && !one.After {
			return nil, one.verdict(ctx)
		}
		stream, err := next(ctx, spec)
		if err != nil || !one.fails() {
			return stream, err
		}
		return &deaf{ClientStream: stream, ctx: ctx, fault: one}, nil
	}
}

// deaf is a client stream whose answers are lost.
type deaf struct {
	connect.ClientStream
	ctx   context.Context // the call's
	fault *Fault
}

func (d *deaf) Receive(msg any) error {
	if err := d.ClientStream.Receive(msg); err != nil {
		return err
	}
	return d.fault.verdict(d.ctx)
}
