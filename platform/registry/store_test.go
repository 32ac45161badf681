package registry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/platform/registry"
)

// probed is a Probe that knows who accepts connections, and counts.
type probed struct {
	mu      sync.Mutex
	accepts map[string]bool
	asked   int
}

func (p *probed) probe(_ context.Context, addr string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked++
	return p.accepts[addr]
}

func newStore(p *probed) *registry.Store {
	return registry.NewStore(&registry.StoreOptions{Probe: p.probe, Logger: slog.New(slog.DiscardHandler)})
}

// running runs the store's leases until the test ends.
func running(t *testing.T, s *registry.Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
}

func instance(service string, n int) discovery.Instance {
	return discovery.Instance{Service: service, ID: fmt.Sprintf("i%02d", n), Addr: fmt.Sprintf("127.0.0.1:%d", 7000+n)}
}

func key(in discovery.Instance) registry.Key { return registry.Key{Service: in.Service, ID: in.ID} }

func register(t *testing.T, s *registry.Store, lease time.Duration, instances ...discovery.Instance) {
	t.Helper()
	for _, in := range instances {
		if _, err := s.Register(registry.Registration{Instance: in, Lease: lease}); err != nil {
			t.Fatal(err)
		}
	}
}

// statuses says how many instances of a service there are of each status.
func statuses(s *registry.Store, service string) string {
	snapshot, _ := s.Snapshot(service)
	count := map[discovery.Status]int{}
	for _, in := range snapshot.Instances {
		count[in.Status]++
	}
	var parts []string
	for status := discovery.Up; status <= discovery.Suspect; status++ {
		if count[status] > 0 {
			parts = append(parts, fmt.Sprintf("%d %v", count[status], status))
		}
	}
	return strings.Join(parts, " ")
}

func want(t *testing.T, s *registry.Store, service, want string) {
	t.Helper()
	synctest.Wait()
	if got := statuses(s, service); got != want {
		t.Errorf("%s has %q, want %q", service, got, want)
	}
}

func TestALeaseEndsExactlyWhenItSays(t *testing.T) {
	tests := []struct {
		name  string
		lease time.Duration
	}{{"ten seconds", 10 * time.Second}, {"the least", 100 * time.Millisecond}, {"the most", time.Hour}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStore(&probed{})
				running(t, s)
				register(t, s, 0, instance("kitchen", 1))
				register(t, s, tt.lease, instance("kitchen", 2))
				time.Sleep(tt.lease / 2)
				s.Renew(key(instance("kitchen", 2)))
				time.Sleep(tt.lease - time.Millisecond)
				want(t, s, "kitchen", "2 UP")
				time.Sleep(2 * time.Millisecond)
				want(t, s, "kitchen", "1 UP")
				time.Sleep(24 * time.Hour)
				want(t, s, "kitchen", "1 UP") // the one without a lease
			})
		})
	}
}

// beating renews all but the silent ones every three seconds until the context ends.
func beating(ctx context.Context, s *registry.Store, n int, silent func(i int) bool) {
	for ctx.Err() == nil {
		for i := range n {
			if !silent(i) {
				s.Renew(key(instance("kitchen", i)))
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(3 * time.Second):
		}
	}
}

func TestADeadInstanceIsGoneWithinItsLeaseWhateverTheirNumber(t *testing.T) {
	for n := 1; n <= 12; n++ {
		for _, dead := range []int{1, (n + 1) / 2, n} {
			t.Run(fmt.Sprintf("%d of %d die", dead, n), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := &probed{accepts: map[string]bool{}}
					s := newStore(p)
					running(t, s)
					for i := range n {
						register(t, s, 10*time.Second, instance("kitchen", i))
						p.accepts[instance("kitchen", i).Addr] = i >= dead
					}
					go beating(t.Context(), s, n, func(i int) bool { return i < dead })
					time.Sleep(10*time.Second + time.Millisecond)
					left := fmt.Sprintf("%d UP", n-dead)
					if n == dead {
						left = ""
					}
					want(t, s, "kitchen", left)
				})
			})
		}
	}
}

func TestSilenceOfAllRemovesNobodyWhoLives(t *testing.T) {
	for n := 1; n <= 12; n++ {
		t.Run(fmt.Sprintf("%d instances", n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &probed{accepts: map[string]bool{}}
				s := newStore(p)
				running(t, s)
				for i := range n {
					p.accepts[instance("kitchen", i).Addr] = true
					register(t, s, 10*time.Second, instance("kitchen", i))
					time.Sleep(100 * time.Millisecond) // they do not beat in step
				}
				time.Sleep(time.Minute)
				want(t, s, "kitchen", fmt.Sprintf("%d SUSPECT", n))
				for i := range n {
					s.Renew(key(instance("kitchen", i)))
				}
				want(t, s, "kitchen", fmt.Sprintf("%d UP", n))
			})
		})
	}
}

func TestASuspectThatStopsAcceptingIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := instance("kitchen", 1)
		p := &probed{accepts: map[string]bool{in.Addr: true}}
		s := newStore(p)
		running(t, s)
		register(t, s, 10*time.Second, in)
		time.Sleep(11 * time.Second)
		want(t, s, "kitchen", "1 SUSPECT")
		p.mu.Lock()
		p.accepts[in.Addr] = false
		p.mu.Unlock()
		time.Sleep(10 * time.Second)
		want(t, s, "kitchen", "")
		if p.asked != 2 {
			t.Errorf("probed %d times, want 2", p.asked)
		}
	})
}

func TestOneThatFallsSilentAmongOthersIsRemovedThoughItAccepts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &probed{accepts: map[string]bool{}}
		s := newStore(p)
		running(t, s)
		for i := range 4 {
			p.accepts[instance("kitchen", i).Addr] = true
			register(t, s, 10*time.Second, instance("kitchen", i))
		}
		go beating(t.Context(), s, 4, func(i int) bool { return i == 2 })
		time.Sleep(10*time.Second + time.Millisecond)
		want(t, s, "kitchen", "3 UP")
		if p.asked != 0 {
			t.Errorf("probed %d times, want none: it hangs", p.asked)
		}
	})
}

func TestRenewTellsWhoIsNotKnown(t *testing.T) {
	s := newStore(&probed{})
	register(t, s, time.Second, instance("kitchen", 1))
	got := s.Renew(key(instance("kitchen", 1)), key(instance("kitchen", 2)), key(instance("order", 1)))
	if !slices.Equal(got, []registry.Key{{Service: "kitchen", ID: "i02"}, {Service: "order", ID: "i01"}}) {
		t.Errorf("unknown = %v", got)
	}
	if _, err := s.SetStatus(key(instance("order", 1)), discovery.Up); !errors.Is(err, registry.ErrUnknown) {
		t.Errorf("SetStatus of nobody: %v", err)
	}
}

func TestAnInvalidRegistrationIsRefused(t *testing.T) {
	good := instance("kitchen", 1)
	tests := []struct {
		name string
		reg  registry.Registration
	}{
		{"an invalid instance", registry.Registration{Instance: discovery.Instance{Service: "kitchen"}}},
		{"too short a lease", registry.Registration{Instance: good, Lease: time.Millisecond}},
		{"too long a lease", registry.Registration{Instance: good, Lease: 2 * time.Hour}},
		{"a negative lease", registry.Registration{Instance: good, Lease: -1}},
		{"a long registrar", registry.Registration{Instance: good, Registrar: strings.Repeat("x", 256)}},
		{"suspect by itself", registry.Registration{Instance: func() discovery.Instance { in := good; in.Status = discovery.Suspect; return in }()}},
	}
	s := newStore(&probed{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := s.Register(tt.reg); err == nil {
				t.Error("it was accepted")
			}
		})
	}
	if _, known := s.Snapshot("kitchen"); known {
		t.Error("a refused registration left a service behind")
	}
}

func TestARestoredInstanceWithoutLeaseNeedsItsRegistrar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := newStore(&probed{})
		register(t, before, 0, instance("kitchen", 1), instance("kitchen", 2))
		register(t, before, 30*time.Second, instance("kitchen", 3))
		after := newStore(&probed{accepts: map[string]bool{instance("kitchen", 1).Addr: true}})
		if err := after.Restore(before.Registrations()); err != nil {
			t.Fatal(err)
		}
		running(t, after)
		want(t, after, "kitchen", "3 UP")
		time.Sleep(5 * time.Second)
		after.Renew(key(instance("kitchen", 2)))
		time.Sleep(6 * time.Second)
		want(t, after, "kitchen", "2 UP")
		time.Sleep(20 * time.Second)
		want(t, after, "kitchen", "1 UP")
	})
}
