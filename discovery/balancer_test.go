package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-go/cleave/discovery"
)

var errBroken = errors.New("broken")

func instances(n int) discovery.Snapshot {
	s := discovery.Snapshot{Service: "kitchen"}
	for i := range n {
		s.Instances = append(s.Instances, discovery.Instance{Service: "kitchen", ID: fmt.Sprintf("k%02d", i), Addr: fmt.Sprintf("127.0.0.1:%d", 7000+i)})
	}
	return s
}

func newBalancer(s discovery.Snapshot, opts discovery.BalancerOptions) *discovery.Balancer {
	opts.Rand = rand.New(rand.NewPCG(1, 2))
	b := discovery.NewBalancer(&opts)
	b.Update(s)
	return b
}

// call picks, lets the time pass that answer says, and finishes; it returns the instance.
func call(t *testing.T, b *discovery.Balancer, answer func(id string) (time.Duration, error)) string {
	t.Helper()
	p, err := b.Pick()
	if err != nil {
		t.Fatal(err)
	}
	d, err := answer(p.Instance.ID)
	time.Sleep(d)
	p.Done(err)
	return p.Instance.ID
}

func fine(string) (time.Duration, error) { return 10 * time.Millisecond, nil }

func failing(bad ...string) func(string) (time.Duration, error) {
	return func(id string) (time.Duration, error) {
		for _, b := range bad {
			if b == id {
				return time.Millisecond, errBroken
			}
		}
		return 10 * time.Millisecond, nil
	}
}

func counts(t *testing.T, b *discovery.Balancer, n int, answer func(string) (time.Duration, error)) map[string]int {
	t.Helper()
	m := map[string]int{}
	for range n {
		m[call(t, b, answer)]++
	}
	return m
}

func TestSharesFollowTheWeights(t *testing.T) {
	tests := []struct {
		name    string
		weights []int
		want    []float64
	}{
		{"equal instances get equal shares", []int{0, 0, 0, 0}, []float64{.25, .25, .25, .25}},
		{"a canary of a twentieth gets a twentieth", []int{5, 95}, []float64{.05, .95}},
		{"an unnamed weight is 100", []int{0, 300}, []float64{.25, .75}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := instances(len(tt.weights))
				for i, w := range tt.weights {
					s.Instances[i].Weight = w
				}
				got := counts(t, newBalancer(s, discovery.BalancerOptions{}), 4000, fine)
				for i, want := range tt.want {
					if share := float64(got[s.Instances[i].ID]) / 4000; share < want*.8 || share > want*1.2 {
						t.Errorf("share of instance %d = %.3f, want about %.3f", i, share, want)
					}
				}
			})
		})
	}
}

func TestOnlyInstancesThatTakeCallsArePicked(t *testing.T) {
	s := instances(5)
	s.Instances[0].Status = discovery.Starting
	s.Instances[1].Status = discovery.Draining
	s.Instances[2].Status = discovery.OutOfService
	s.Instances[3].Status = discovery.Suspect
	synctest.Test(t, func(t *testing.T) {
		got := counts(t, newBalancer(s, discovery.BalancerOptions{}), 1000, fine)
		if got["k03"]+got["k04"] != 1000 {
			t.Errorf("picked %v, want only k03 and k04", got)
		}
		if got["k03"] == 0 || got["k03"] > 200 {
			t.Errorf("the suspect got %d of 1000, want few but some", got["k03"])
		}
	})
}

func TestNoInstanceIsAnError(t *testing.T) {
	b := newBalancer(discovery.Snapshot{}, discovery.BalancerOptions{})
	if _, err := b.Pick(); !errors.Is(err, discovery.ErrNoInstance) {
		t.Errorf("Pick of nothing: %v, want ErrNoInstance", err)
	}
	b.Update(instances(2))
	if _, err := b.Pick("k00", "k01"); !errors.Is(err, discovery.ErrNoInstance) {
		t.Errorf("Pick with all skipped: %v, want ErrNoInstance", err)
	}
	for range 100 {
		if p, err := b.Pick("k00"); err != nil || p.Instance.ID != "k01" {
			t.Fatalf("Pick without k00 = %v, %v", p, err)
		}
	}
}

func TestFailuresInARowEject(t *testing.T) {
	tests := []struct {
		name string
		n    int
		bad  []string
		max  int // instances out at any time
	}{
		{"one of three is taken out", 3, []string{"k00"}, 1},
		{"one of two is taken out", 2, []string{"k00"}, 1},
		{"the only one is never taken out", 1, []string{"k00"}, 0},
		{"at most half are taken out", 4, []string{"k00", "k01", "k02", "k03"}, 2},
		{"half rounds down", 5, []string{"k00", "k01", "k02", "k03"}, 2},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBalancer(instances(tt.n), discovery.BalancerOptions{})
				most := 0
				for range 2000 {
					call(t, b, failing(tt.bad...))
					out := 0
					for _, s := range b.States() {
						if !s.EjectedUntil.IsZero() {
							out++
						}
					}
					most = max(most, out)
				}
				if most != tt.max {
					t.Errorf("ejected at once: %d, want %d", most, tt.max)
				}
			})
		})
	}
}

func TestAnEjectedInstanceComesBackAndItsTimeOutGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(instances(3), discovery.BalancerOptions{})
		failures := 0
		broken := func(id string) (time.Duration, error) {
			if id == "k00" {
				failures++
				return time.Millisecond, errBroken
			}
			return 10 * time.Millisecond, nil
		}
		begin := time.Now()
		for time.Since(begin) < time.Minute {
			call(t, b, broken)
		}
		// 3 at first, then one probe after 1, 2, 4, 8, 16 and 30 s.
		if failures < 5 || failures > 9 {
			t.Errorf("%d calls failed in a minute, want the first three and a probe per ejection", failures)
		}
		healed := time.Now()
		for call(t, b, fine) != "k00" {
		}
		if d := time.Since(healed); d > 31*time.Second {
			t.Errorf("the healed instance came back after %v, want at most 30 s", d)
		}
	})
}

func TestASlowBackendCostsOneCallInAThousandAtMost(t *testing.T) {
	// Eleven backends, 1,000 calls a second for a minute; one of them takes 2 s for 30 s of it, calls
	// give up after 1 s. Taking turns would fail about 4.5 %.
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(instances(11), discovery.BalancerOptions{})
		begin := time.Now()
		done := make(chan error, 60_000)
		for range 60_000 {
			time.Sleep(time.Millisecond)
			p, err := b.Pick()
			if err != nil {
				t.Fatal(err)
			}
			slow := p.Instance.ID == "k05" && time.Since(begin) > 15*time.Second && time.Since(begin) < 45*time.Second
			go func() {
				var err error
				if slow {
					time.Sleep(time.Second)
					err = context.DeadlineExceeded
				} else {
					time.Sleep(10 * time.Millisecond)
				}
				p.Done(err)
				done <- err
			}()
		}
		failed := 0
		for range 60_000 {
			if <-done != nil {
				failed++
			}
		}
		if failed > 60 {
			t.Errorf("%d of 60,000 calls failed, want at most 60", failed)
		}
		t.Logf("%d of 60,000 failed", failed)
	})
}

func TestAnInstanceThatJoinsStartsSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(instances(1), discovery.BalancerOptions{})
		counts(t, b, 100, fine)
		b.Update(instances(2))
		early := counts(t, b, 100, fine)["k01"] // the first second
		time.Sleep(10 * time.Second)
		late := counts(t, b, 1000, fine)["k01"]
		if early == 0 || early > 25 {
			t.Errorf("the newcomer got %d of the first 100 calls, want about 10", early)
		}
		if late < 400 || late > 600 {
			t.Errorf("after ten seconds it gets %d of 1000, want about half", late)
		}
	})
}

func TestACancelledCallSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(instances(2), discovery.BalancerOptions{})
		for range 100 {
			call(t, b, func(string) (time.Duration, error) { return time.Hour, context.Canceled })
		}
		for _, s := range b.States() {
			if s.Cost != 0 || s.InFlight != 0 || !s.EjectedUntil.IsZero() {
				t.Errorf("state after cancelled calls = %+v, want nothing learnt", s)
			}
		}
	})
}

func TestAnUpdateKeepsWhatWasLearnt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBalancer(instances(2), discovery.BalancerOptions{})
		p, err := b.Pick("k01")
		if err != nil {
			t.Fatal(err)
		}
		b.Update(instances(3))
		if s := b.States(); s[0].InFlight != 1 {
			t.Errorf("in flight after an update = %d, want 1", s[0].InFlight)
		}
		moved := instances(3)
		moved.Instances[0].Addr = "127.0.0.1:9999"
		b.Update(moved)
		p.Done(nil)
		p.Done(nil)
		if s := b.States(); s[0].InFlight != 0 {
			t.Errorf("in flight at a new address = %d, want 0", s[0].InFlight)
		}
	})
}

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{2, 10, 100} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			bal := discovery.NewBalancer(nil)
			bal.Update(instances(n))
			b.ReportAllocs()
			for b.Loop() {
				p, err := bal.Pick()
				if err != nil {
					b.Fatal(err)
				}
				p.Done(nil)
			}
		})
	}
}
