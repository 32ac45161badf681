package breaker_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-go/cleave/breaker"
)

const walks = 64

// A million random steps and more, beside a reference that shares no code with the breaker.
func TestAMillionRandomStepsGoAsInTheReference(t *testing.T) {
	for part := range 4 {
		t.Run(fmt.Sprint("part ", part), func(t *testing.T) {
			t.Parallel()
			var seen [3][4]int // by state and mode
			for seed := part; seed < walks; seed += 4 {
				synctest.Test(t, func(t *testing.T) {
					w := newWalk(t, uint64(seed))
					for i := range stepsPerWalk {
						if problem := w.step(); problem != "" {
							t.Fatalf("seed %d, step %d: %s\nlast steps: %q", seed, i, problem, w.story())
						}
						seen[w.r.state][w.r.mode]++
					}
				})
			}
			for _, p := range places {
				if n := seen[p.state][p.mode]; n < stepsPerWalk/16 {
					t.Errorf("only %d steps were taken while %s", n, p.name)
				}
			}
		})
	}
}

// walk takes the same steps with a breaker and its reference.
type walk struct {
	rand    *rand.Rand
	b       *breaker.Breaker
	r       *reference
	begin   time.Time
	begun   []begun
	events  []breaker.Event
	out     breaker.Outcome // of the call that ends
	failing int             // percent of the calls, for a while
	last    [16]string      // what was done
	steps   int
}

type begun struct {
	permit *breaker.Permit
	ticket *ticket
}

func newWalk(t *testing.T, seed uint64) *walk {
	w := &walk{rand: rand.New(rand.NewPCG(seed, 1)), begin: time.Now()}
	pick := func(low, high int) int { return low + w.rand.IntN(high-low+1) }
	r := &reference{
		minCalls: pick(1, 8), failures: pick(20, 100), slows: pick(20, 100),
		openFor: time.Duration(pick(1, 1500)) * time.Millisecond,
		probes:  pick(1, 5),
	}
	o := &breaker.Options{
		MinCalls: r.minCalls, Probes: r.probes, FailureRate: float64(r.failures) / 100, SlowRate: float64(r.slows) / 100,
		OpenFor:  func(n int) time.Duration { return time.Duration(n) * r.openFor },
		Classify: func(context.Context, error) breaker.Outcome { return w.out },
		OnEvent: func(e breaker.Event) {
			e.At = time.Time{}.Add(e.At.Sub(w.begin))
			e.Seq, e.Breaker = 0, ""
			w.events = append(w.events, e)
		},
	}
	if seed%2 == 0 {
		r.window = pick(1, 12)
		r.minCalls = min(r.minCalls, r.window)
		o.Window = breaker.Count(r.window)
	} else {
		r.span = time.Duration(pick(100, 400)) * time.Millisecond
		o.Window = breaker.Time(r.span)
	}
	r.probes = min(r.probes, r.minCalls)
	if seed/2%2 == 0 {
		r.slowCall = time.Duration(pick(1, 20)) * time.Millisecond
		o.SlowCall = r.slowCall
	}
	if seed/4%2 == 0 {
		r.probeTimeout = time.Duration(pick(1, 200)) * time.Millisecond
		o.ProbeTimeout = r.probeTimeout
	}
	b, err := breaker.New("walk", o)
	if err != nil {
		t.Fatal(err)
	}
	w.b, w.r = b, r
	return w
}

func (w *walk) did(what string) { w.last[w.steps%len(w.last)] = what }

func (w *walk) story() []string {
	at := w.steps % len(w.last)
	return slices.Concat(w.last[at:], w.last[:at])
}

// step does one thing to both and says how they differ after it.
func (w *walk) step() string {
	w.steps++
	if w.steps%64 == 1 {
		w.failing = []int{0, 5, 30, 60, 100}[w.rand.IntN(5)]
	}
	problem := w.act()
	if problem == "" && !slices.Equal(w.events, w.r.events) {
		problem = fmt.Sprintf("events %v, want %v", w.events, w.r.events)
	}
	w.events, w.r.events = w.events[:0], w.r.events[:0]
	return problem
}

func (w *walk) act() string {
	switch n := w.rand.IntN(1000); {
	case n < 550:
		w.did("call")
		if problem := w.start(); problem != "" {
			return problem
		}
		return w.end(len(w.begun) - 1)
	case n < 680:
		w.did("begin")
		if len(w.begun) > 20 { // it is never heard of again
			w.begun = slices.Delete(w.begun, 0, 1)
		}
		return w.start()
	case n < 800:
		w.did("end")
		if len(w.begun) == 0 {
			return ""
		}
		return w.end(w.rand.IntN(len(w.begun)))
	case n < 940:
		d := time.Duration(w.rand.IntN(10)) * time.Millisecond
		if n < 820 {
			d = time.Duration(w.rand.IntN(2000)) * time.Millisecond
		}
		w.did("sleep " + d.String())
		time.Sleep(d)
		w.r.now += d
	case n < 960:
		w.did("state")
		w.r.expire()
		if got := w.b.State(); got != w.r.state {
			return fmt.Sprintf("state %v, want %v", got, w.r.state)
		}
	case n < 980:
		w.did("stats")
		if got, want := w.b.Stats(), w.r.stats(); got != want {
			return fmt.Sprintf("stats %+v, want %+v", got, want)
		}
	default:
		return w.byHand()
	}
	return ""
}

// start begins a call; a refused one leaves nothing behind.
func (w *walk) start() string {
	permit, err := w.b.Allow()
	t := w.r.allow()
	if (err == nil) != (t != nil) {
		return fmt.Sprintf("Allow returned %v, in state %v", err, w.r.state)
	}
	if err != nil {
		var left time.Duration
		if w.r.state == breaker.Open && w.r.mode == breaker.Auto {
			left = w.r.openTill - w.r.now
		}
		if open := err.(*breaker.OpenError); open.State != w.r.state || open.RetryAfter() != left {
			return fmt.Sprintf("refused as %v for %v, want %v", open.State, open.RetryAfter(), left)
		}
		w.begun = append(w.begun, begun{})
		return ""
	}
	w.begun = append(w.begun, begun{&permit, t})
	return ""
}

func (w *walk) end(i int) string {
	c := w.begun[i]
	w.begun = slices.Delete(w.begun, i, i+1)
	if c.permit == nil {
		return ""
	}
	w.out = breaker.Success
	if n := w.rand.IntN(100); n < w.failing {
		w.out = breaker.Failure
	} else if n >= 97 {
		w.out = breaker.Ignored
	}
	c.permit.Done(context.Background(), nil)
	w.r.done(c.ticket, w.out)
	return ""
}

// byHand does what an operator may do.
func (w *walk) byHand() string {
	switch w.rand.IntN(8) {
	case 0:
		w.did("reset")
		w.b.Reset()
		w.r.reset()
	case 1:
		d := time.Duration(w.rand.IntN(3000)-100) * time.Millisecond
		w.did("trip " + d.String())
		w.b.Trip(d)
		w.r.trip(d)
	case 2, 3:
		m := modes[w.rand.IntN(len(modes))]
		w.did("mode " + m.String())
		w.b.SetMode(m)
		w.r.setMode(m)
	default:
		s := breaker.State(w.rand.IntN(3))
		w.did("move to " + s.String())
		err := w.b.SetState(s)
		if legal := w.r.setState(s); legal != (err == nil) {
			return fmt.Sprintf("SetState(%v) returned %v", s, err)
		}
	}
	return ""
}
