package registry_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/discovery/registryapi"
	"github.com/cleave-go/cleave/internal/memhttp"
	"github.com/cleave-go/cleave/platform/registry"
)

func client(t *testing.T, network *memhttp.Server, token string) *discovery.Client {
	t.Helper()
	c, err := discovery.NewClient("http://127.0.0.1:8761", token, &discovery.ClientOptions{
		Name: "test", HTTP: network.Client(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// seen collects the snapshots of a watch as "id=STATUS id=STATUS".
type seen struct {
	mu   sync.Mutex
	list []string
}

func (s *seen) follow(ctx context.Context, r discovery.Resolver, service string, act func()) {
	for snapshot, err := range r.Watch(ctx, service) {
		if err != nil {
			continue
		}
		var parts []string
		for _, in := range snapshot.Instances {
			parts = append(parts, fmt.Sprintf("%s=%v", in.ID, in.Status))
		}
		if act != nil {
			act()
		}
		s.mu.Lock()
		s.list = append(s.list, strings.Join(parts, " "))
		s.mu.Unlock()
	}
}

func (s *seen) check(t *testing.T, want ...string) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.list, want) {
		t.Errorf("seen %q, want %q", s.list, want)
	}
	s.list = nil
}

func TestTheLifeOfAnInstanceAsItsClientsSeeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newStore(&probed{})
		running(t, store)
		network := memhttp.New(store.Handler("secret"))
		defer network.Down()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var near, far seen
		go near.follow(ctx, client(t, network, ""), "kitchen", nil)
		go far.follow(ctx, client(t, network, ""), "kitchen", func() { time.Sleep(300 * time.Millisecond) })
		near.check(t, "")

		self, err := client(t, network, "secret").NewRegistration(discovery.Instance{
			Service: "kitchen", ID: "k1", Addr: "127.0.0.1:7001", Status: discovery.Starting,
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		life, end := context.WithCancel(ctx)
		ended := make(chan error)
		go func() { ended <- self.Run(life) }()
		near.check(t, "k1=STARTING")
		if _, err := self.SetStatus(ctx, discovery.Up); err != nil {
			t.Fatal(err)
		}
		near.check(t, "k1=UP")
		time.Sleep(time.Minute) // many leases
		near.check(t)

		begin := time.Now()
		end()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		near.check(t, "")
		if d := time.Since(begin); d != 300*time.Millisecond {
			t.Errorf("left after %v, want when the slower watcher had acted", d)
		}
	})
}

func TestAfterARestartEverythingIsThereAgain(t *testing.T) {
	tests := []struct {
		name     string
		restored bool
		gap      bool // watchers may see the service empty for a moment
	}{
		{"what was saved is there at once and nobody sees a gap", true, false},
		{"without it a beat brings it back", false, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newStore(&probed{})
				network := memhttp.New(store.Handler(""))
				defer network.Down()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				reg, err := client(t, network, "").NewRegistration(instance("kitchen", 1), &discovery.RegistrationOptions{Registrar: "supervisor"})
				if err != nil {
					t.Fatal(err)
				}
				ended := make(chan error)
				go func() { ended <- reg.Run(ctx) }()
				<-reg.Registered()
				var got seen
				go got.follow(ctx, client(t, network, ""), "kitchen", nil)
				got.check(t, "i01=UP")

				network.Down()
				time.Sleep(30 * time.Second)
				got.check(t) // nothing is taken away
				second := newStore(&probed{})
				if tt.restored {
					if err := second.Restore(store.Registrations()); err != nil {
						t.Fatal(err)
					}
				}
				running(t, second)
				network.Up(second.Handler(""))
				time.Sleep(time.Minute)
				synctest.Wait()
				got.mu.Lock()
				if n := len(got.list); n == 0 || got.list[n-1] != "i01=UP" || !tt.gap && slices.Contains(got.list, "") {
					t.Errorf("seen %q", got.list)
				}
				got.mu.Unlock()
				want(t, second, "kitchen", "1 UP")
				cancel()
				<-ended
			})
		})
	}
}

func TestChangesNeedTheTokenAndReadingDoesNot(t *testing.T) {
	key := &registryapi.InstanceKey{Service: "kitchen", Id: "k1"}
	type api = registryapi.RegistryServiceClient
	calls := []struct {
		name  string
		write bool
		call  func(context.Context, api) error
	}{
		{"register", true, func(ctx context.Context, a api) error {
			_, err := a.Register(ctx, &registryapi.RegisterRequest{Instance: &registryapi.Instance{Service: "kitchen", Id: "k1", Addr: "127.0.0.1:1"}})
			return err
		}},
		{"renew", true, func(ctx context.Context, a api) error {
			_, err := a.Renew(ctx, &registryapi.RenewRequest{})
			return err
		}},
		{"set the status", true, func(ctx context.Context, a api) error {
			_, err := a.SetStatus(ctx, &registryapi.SetStatusRequest{Key: key, Status: registryapi.Status_DRAINING})
			return err
		}},
		{"deregister", true, func(ctx context.Context, a api) error {
			_, err := a.Deregister(ctx, &registryapi.DeregisterRequest{Key: key})
			return err
		}},
		{"list", false, func(ctx context.Context, a api) error {
			_, err := a.List(ctx, &registryapi.ListRequest{})
			return err
		}},
		{"watch", false, func(ctx context.Context, a api) error {
			stream, err := a.Watch(ctx, &registryapi.WatchRequest{})
			if err != nil {
				return err
			}
			defer stream.Close()
			_, err = stream.Receive()
			return err
		}},
		{"acknowledge", false, func(ctx context.Context, a api) error {
			_, err := a.Ack(ctx, &registryapi.AckRequest{WatcherId: "nobody"})
			return err
		}},
	}
	network := memhttp.New(newStore(&probed{}).Handler("secret"))
	defer network.Down()
	for _, token := range []string{"", "wrong", "secret"} {
		for _, c := range calls {
			t.Run(fmt.Sprintf("%s with token %q", c.name, token), func(t *testing.T) {
				err := c.call(t.Context(), client(t, network, token).API())
				if refused := connect.CodeOf(err) == connect.CodeUnauthenticated; refused != (c.write && token != "secret") {
					t.Errorf("answer: %v", err)
				}
				if err != nil && (strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "wrong")) {
					t.Errorf("the error shows a token: %v", err)
				}
			})
		}
	}
}

func TestABadRequestIsRefusedWithTheReason(t *testing.T) {
	network := memhttp.New(newStore(&probed{}).Handler(""))
	defer network.Down()
	a := client(t, network, "").API()
	good := func() *registryapi.RegisterRequest {
		return &registryapi.RegisterRequest{Instance: &registryapi.Instance{Service: "kitchen", Id: "k1", Addr: "127.0.0.1:1"}}
	}
	tests := []struct {
		name string
		call func(ctx context.Context) error
		code connect.Code
		text string
	}{
		{"an empty registration", func(ctx context.Context) error {
			_, err := a.Register(ctx, &registryapi.RegisterRequest{})
			return err
		}, connect.CodeInvalidArgument, "service name"},
		{"an unknown status", func(ctx context.Context) error {
			req := good()
			req.Instance.Status = 99
			_, err := a.Register(ctx, req)
			return err
		}, connect.CodeInvalidArgument, "unknown status"},
		{"a lease without end", func(ctx context.Context) error {
			req := good()
			req.Lease = durationpb.New(1000 * time.Hour)
			_, err := a.Register(ctx, req)
			return err
		}, connect.CodeInvalidArgument, "lease"},
		{"status of nobody", func(ctx context.Context) error {
			_, err := a.SetStatus(ctx, &registryapi.SetStatusRequest{Key: &registryapi.InstanceKey{Service: "kitchen", Id: "k1"}})
			return err
		}, connect.CodeNotFound, "kitchen/k1"},
		{"too many renewals", func(ctx context.Context) error {
			_, err := a.Renew(ctx, &registryapi.RenewRequest{Keys: make([]*registryapi.InstanceKey, 1001)})
			return err
		}, connect.CodeInvalidArgument, "1,000"},
		{"a watch of no name", func(ctx context.Context) error {
			stream, err := a.Watch(ctx, &registryapi.WatchRequest{Services: []string{"Not A Name"}})
			if err != nil {
				return err
			}
			defer stream.Close()
			_, err = stream.Receive()
			return err
		}, connect.CodeInvalidArgument, "service name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.call(t.Context())
			if connect.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("answer %v, want %v with %q", err, tt.code, tt.text)
			}
		})
	}
}

func TestAPageOfAnotherNameGetsNothing(t *testing.T) {
	tests := []struct {
		host, origin string
		status       int
	}{
		{"127.0.0.1:8761", "", http.StatusOK},
		{"localhost:8761", "", http.StatusOK},
		{"localhost", "", http.StatusOK},
		{"[::1]:8761", "", http.StatusOK},
		{"127.77.3.4", "", http.StatusOK},
		{"evil.example", "", http.StatusMisdirectedRequest},
		{"evil.example:8761", "", http.StatusMisdirectedRequest},
		{"localhost.evil.example", "", http.StatusMisdirectedRequest},
		{"10.0.0.1:8761", "", http.StatusMisdirectedRequest},
		{"127.0.0.1:8761", "http://evil.example", http.StatusForbidden},
	}
	faces := start(t, registry.Options{DisableRouter: true})
	for _, tt := range tests {
		t.Run(tt.host+" "+tt.origin, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), "POST", faces.URL+registryapi.RegistryServiceListProcedure, strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			req.Host = tt.host
			req.Header.Set("Content-Type", "application/json")
			if tt.origin != "" {
				req.Header.Set("Origin", tt.origin)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != tt.status {
				t.Errorf("status %d, want %d", res.StatusCode, tt.status)
			}
		})
	}
}
