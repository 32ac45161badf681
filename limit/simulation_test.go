package limit_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-go/cleave/limit"
)

// resource works on a number of calls at a time; the others wait for it, as they do for a CPU or a pool.
type resource struct {
	slots chan struct{}
	takes atomic.Int64
}

func newResource(slots int, takes time.Duration) *resource {
	r := &resource{slots: make(chan struct{}, slots)}
	r.takes.Store(int64(takes))
	return r
}

func (r *resource) serve(takes time.Duration) {
	r.slots <- struct{}{}
	time.Sleep(takes)
	<-r.slots
}

// tally counts what became of the calls of one priority.
type tally struct{ offered, served, shed, slow atomic.Int64 }

// load offers calls at a steady rate, one in share of each priority.
type load struct {
	l     *limit.Adaptive
	r     *resource
	kind  string
	every time.Duration
	share map[limit.Priority]int // one in so many
	late  time.Duration          // 0: never
}

// run offers calls for a span and returns what became of them when the last has ended.
func (o load) run(span time.Duration) map[limit.Priority]*tally {
	all := map[limit.Priority]*tally{limit.Default: {}, limit.Critical: {}, limit.Sheddable: {}}
	var calls sync.WaitGroup
	end := time.Now().Add(span)
	for i := 0; time.Now().Before(end); i++ {
		p := limit.Sheddable
		for _, candidate := range []limit.Priority{limit.Default, limit.Critical} {
			if n := o.share[candidate]; n > 0 && i%n == 0 {
				p = candidate
			}
		}
		count := all[p]
		count.offered.Add(1)
		calls.Go(func() {
			slot, err := o.l.Acquire(context.Background(), o.kind, p)
			if err != nil {
				count.shed.Add(1)
				return
			}
			begin := time.Now()
			o.r.serve(time.Duration(o.r.takes.Load()))
			slot.Done(limit.Served)
			count.served.Add(1)
			if o.late > 0 && time.Since(begin) > o.late {
				count.slow.Add(1)
			}
		})
		time.Sleep(o.every)
	}
	calls.Wait()
	return all
}

func newAdaptive(t testing.TB, o *limit.AdaptiveOptions) *limit.Adaptive {
	t.Helper()
	l, err := limit.NewAdaptive(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func served(all map[limit.Priority]*tally) int64 {
	return all[limit.Default].served.Load() + all[limit.Critical].served.Load() + all[limit.Sheddable].served.Load()
}

func TestTenTimesTheLoadIsServedAtCapacityAndTheCriticalFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const span = 20 * time.Second
		l := newAdaptive(t, nil)
		all := load{l: l, r: newResource(10, 20*time.Millisecond), every: 200 * time.Microsecond, late: 60 * time.Millisecond,
			share: map[limit.Priority]int{limit.Critical: 25, limit.Default: 5}}.run(span)
		goodput := float64(served(all)) / span.Seconds()
		c, s := all[limit.Critical], all[limit.Sheddable]
		share := float64(c.served.Load()) / float64(c.offered.Load())
		t.Logf("goodput %.0f/s of 500, critical %.2f%% of %d, default %d of %d, sheddable %d of %d, limit %d", goodput, 100*share, c.offered.Load(),
			all[limit.Default].served.Load(), all[limit.Default].offered.Load(), s.served.Load(), s.offered.Load(), l.Stats().Limit)
		if goodput < 450 {
			t.Errorf("goodput is %.0f/s, want at least 450", goodput)
		}
		if share < 0.99 {
			t.Errorf("%.2f%% of the critical calls were served, want 99%%", 100*share)
		}
		if s.shed.Load() < s.offered.Load()*9/10 {
			t.Errorf("only %d of %d sheddable calls were shed", s.shed.Load(), s.offered.Load())
		}
		if late := c.slow.Load() + s.slow.Load() + all[limit.Default].slow.Load(); late*100 > served(all) {
			t.Errorf("%d of %d took more than three times as long as at rest", late, served(all))
		}
		if st := l.Stats(); st.InUse != 0 || st.Waiting != 0 || st.Admitted[limit.Critical] != uint64(c.served.Load()) || st.Shed[limit.Sheddable] != uint64(s.shed.Load()) {
			t.Errorf("afterwards: %+v", st)
		}
	})
}

func TestTheLimitFindsTheResourceAndStaysThere(t *testing.T) {
	for _, tt := range []struct {
		name        string
		slots       int
		takes       time.Duration
		every       time.Duration
		span        time.Duration
		least, most int
	}{
		{"one slot", 1, 5 * time.Millisecond, 2 * time.Millisecond, time.Minute, 10, 10},
		{"ten slots, two minutes of overload", 10, 20 * time.Millisecond, 1900 * time.Microsecond, 2 * time.Minute, 15, 30},
		{"a hundred slots", 100, 20 * time.Millisecond, 100 * time.Microsecond, 20 * time.Second, 120, 220},
		{"slow calls", 10, time.Second, 50 * time.Millisecond, 20 * time.Minute, 15, 30},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newAdaptive(t, nil)
				o := load{l: l, r: newResource(tt.slots, tt.takes), every: tt.every, share: map[limit.Priority]int{limit.Default: 1}}
				all := o.run(tt.span)
				st := l.Stats()
				capacity := float64(tt.slots) / tt.takes.Seconds() * tt.span.Seconds()
				t.Logf("limit %d, served %.1f%% of what is possible", st.Limit, 100*float64(served(all))/capacity)
				if st.Limit < tt.least || st.Limit > tt.most {
					t.Errorf("the limit is %d, want %d to %d", st.Limit, tt.least, tt.most)
				}
				if float64(served(all)) < 0.95*capacity {
					t.Errorf("served %d, want at least 95%% of %.0f", served(all), capacity)
				}
			})
		})
	}
}

func TestTheLimitFollowsAResourceThatChangesUnderOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := newAdaptive(t, nil), newResource(10, 20*time.Millisecond)
		o := load{l: l, r: r, every: 1500 * time.Microsecond, share: map[limit.Priority]int{limit.Default: 1}}
		for _, takes := range []time.Duration{20, 60, 20, 100} {
			r.takes.Store(int64(takes * time.Millisecond))
			o.run(time.Minute) // to find out
			rate := float64(served(o.run(10*time.Second))) / 10
			best := 10 / (takes * time.Millisecond).Seconds()
			t.Logf("at %d ms: limit %d, %.0f/s of %.0f", takes, l.Stats().Limit, rate, best)
			if rate < 0.9*best {
				t.Errorf("at %d ms: %.0f/s, want 90%% of %.0f", takes, rate, best)
			}
		}
	})
}

func TestNothingIsShedBelowCapacity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newAdaptive(t, nil)
		fast, slow := newResource(50, time.Millisecond), newResource(50, 100*time.Millisecond)
		var wg sync.WaitGroup
		for _, o := range []load{
			{l: l, r: fast, kind: "fast", every: 2 * time.Millisecond},
			{l: l, r: slow, kind: "slow", every: 20 * time.Millisecond},
		} {
			wg.Go(func() {
				if shed := o.run(time.Minute)[limit.Sheddable].shed.Load(); shed != 0 {
					t.Errorf("%d %s calls were shed", shed, o.kind)
				}
			})
		}
		wg.Wait()
	})
}

func TestAThrottledClientSendsLittleMoreThanIsAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th, err := limit.NewThrottle(nil)
		if err != nil {
			t.Fatal(err)
		}
		server, err := limit.NewKeyed[int](limit.Rate{Events: 500, Per: time.Second, Burst: 50}, nil)
		if err != nil {
			t.Fatal(err)
		}
		offer := func(span time.Duration, p limit.Priority, down bool) (offered, sent, accepted float64) {
			for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(200 * time.Microsecond) {
				offered++
				if !th.Allow(p) {
					continue
				}
				sent++
				if ok, _, _ := server.Allow(0); ok && !down {
					th.Accepted(p)
					accepted++
				}
			}
			return offered, sent / span.Seconds(), accepted / span.Seconds()
		}
		offer(10*time.Second, limit.Default, false)
		_, sent, accepted := offer(30*time.Second, limit.Default, false)
		t.Logf("of 5,000/s %.0f/s are sent for %.0f/s accepted", sent, accepted)
		if accepted < 490 || sent > 2.3*accepted {
			t.Errorf("%.0f/s are sent for %.0f/s accepted", sent, accepted)
		}
		offer(10*time.Second, limit.Default, true)
		_, sent, _ = offer(20*time.Second, limit.Default, true)
		if sent > 300 {
			t.Errorf("%.0f/s are sent to a server that accepts none", sent)
		}
		if !th.Allow(limit.Critical) {
			t.Error("refused calls of one priority held back another")
		}
		offer(10*time.Second, limit.Default, false) // up again
		if _, _, accepted = offer(10*time.Second, limit.Default, false); accepted < 490 {
			t.Errorf("%.0f/s are accepted of a server that is well again", accepted)
		}
	})
}

func TestASlowSpellUnderOverloadIsNotRememberedForLong(t *testing.T) {
	for _, slots := range []int{10, 50} {
		synctest.Test(t, func(t *testing.T) {
			l, r := newAdaptive(t, nil), newResource(slots, 20*time.Millisecond)
			o := load{l: l, r: r, every: 20 * time.Millisecond / time.Duration(2*slots), share: map[limit.Priority]int{limit.Default: 1}}
			best := float64(slots) / 0.02
			rate := func(span time.Duration) float64 { return float64(served(o.run(span))) / span.Seconds() }
			rate(10 * time.Second)
			r.takes.Store(int64(80 * time.Millisecond))
			spell := rate(5 * time.Second)
			r.takes.Store(int64(20 * time.Millisecond))
			rate(time.Second)
			after := rate(5 * time.Second)
			t.Logf("%d slots: %.0f/s of %.0f while it is slow, %.0f/s of %.0f one second later, limit %d", slots, spell, best/4, after, best, l.Stats().Limit)
			if spell < 0.9*best/4 {
				t.Errorf("%d slots: %.0f/s while it is slow, want 90%% of %.0f", slots, spell, best/4)
			}
			if after < 0.9*best {
				t.Errorf("%d slots: %.0f/s afterwards, want 90%% of %.0f", slots, after, best)
			}
		})
	}
}
