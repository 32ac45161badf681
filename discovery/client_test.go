package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/discovery/registryapi"
	"github.com/cleave-go/cleave/internal/memhttp"
)

// fake is the least that a client can take for a registry: one service, and a record of what was asked.
type fake struct {
	registryapi.UnimplementedRegistryServiceHandler
	epoch string

	mu       sync.Mutex
	state    *registryapi.Service
	changed  chan struct{}
	acked    []uint64
	log      []string
	unknown  bool
	instance map[string]*registryapi.Instance
}

func newFake(epoch string) *fake {
	return &fake{epoch: epoch, state: &registryapi.Service{Name: "kitchen"}, changed: make(chan struct{}), instance: map[string]*registryapi.Instance{}}
}

func (f *fake) handler() http.Handler {
	server := connect.NewServer()
	registryapi.RegisterRegistryServiceHandler(server, f)
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server)
	return mux
}

func (f *fake) set(addrs ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := &registryapi.Service{Name: "kitchen", Revision: f.state.Revision + 1}
	for _, a := range addrs {
		next.Instances = append(next.Instances, &registryapi.Instance{Id: a, Addr: a, Status: registryapi.Status_UP})
	}
	f.state = next
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) Watch(ctx context.Context, req *registryapi.WatchRequest, stream registryapi.RegistryServiceWatchServerStream) error {
	for {
		f.mu.Lock()
		state, changed := f.state, f.changed
		f.mu.Unlock()
		err := stream.Send(&registryapi.WatchResponse{Epoch: f.epoch, Revision: state.Revision, WatcherId: "w", Services: []*registryapi.Service{state}})
		if err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

func (f *fake) Ack(_ context.Context, req *registryapi.AckRequest) (*registryapi.AckResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.acked = append(f.acked, req.GetRevision())
	return &registryapi.AckResponse{}, nil
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, fmt.Sprintf(format, args...))
}

func (f *fake) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	log := f.log
	f.log = nil
	return log
}

func (f *fake) Register(_ context.Context, req *registryapi.RegisterRequest) (*registryapi.RegisterResponse, error) {
	f.note("register %s %v lease=%v", req.GetInstance().GetId(), req.GetInstance().GetStatus(), req.GetLease().AsDuration())
	return &registryapi.RegisterResponse{}, nil
}

func (f *fake) Renew(_ context.Context, req *registryapi.RenewRequest) (*registryapi.RenewResponse, error) {
	f.note("renew")
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.unknown {
		f.unknown = false
		return &registryapi.RenewResponse{Unknown: req.GetKeys()}, nil
	}
	return &registryapi.RenewResponse{}, nil
}

func (f *fake) SetStatus(_ context.Context, req *registryapi.SetStatusRequest) (*registryapi.SetStatusResponse, error) {
	f.note("status %v await=%v", req.GetStatus(), req.GetAwait().AsDuration())
	return &registryapi.SetStatusResponse{Waiting: []string{"slowpoke"}}, nil
}

func (f *fake) Deregister(_ context.Context, req *registryapi.DeregisterRequest) (*registryapi.DeregisterResponse, error) {
	f.note("deregister await=%v", req.GetAwait().AsDuration())
	return &registryapi.DeregisterResponse{}, nil
}

func newClient(t *testing.T, network *memhttp.Server) *discovery.Client {
	t.Helper()
	c, err := discovery.NewClient("http://127.0.0.1:8761", "secret", &discovery.ClientOptions{
		HTTP: network.Client(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// follower collects what a watch yields.
type follower struct {
	mu        sync.Mutex
	addresses [][]string
	errors    int
}

func follow(ctx context.Context, r discovery.Resolver, service string) *follower {
	f := &follower{}
	go func() {
		for s, err := range r.Watch(ctx, service) {
			f.mu.Lock()
			if err != nil {
				f.errors++
			} else {
				var list []string
				for _, in := range s.Instances {
					list = append(list, in.Addr)
				}
				f.addresses = append(f.addresses, list)
			}
			f.mu.Unlock()
		}
	}()
	return f
}

func (f *follower) check(t *testing.T, errors int, want ...[]string) {
	t.Helper()
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.EqualFunc(f.addresses, want, slices.Equal) || f.errors != errors {
		t.Errorf("heard %v and %d errors, want %v and %d", f.addresses, f.errors, want, errors)
	}
}

func TestAnOutageTakesNoInstanceAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newFake("one")
		registry.set("127.0.0.1:1")
		network := memhttp.New(registry.handler())
		defer network.Down()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		client := newClient(t, network)
		got := follow(ctx, client, "kitchen")
		got.check(t, 0, []string{"127.0.0.1:1"})

		network.Down()
		time.Sleep(30 * time.Second)
		got.check(t, 1, []string{"127.0.0.1:1"})

		late := follow(ctx, client, "kitchen")
		time.Sleep(time.Second)
		late.check(t, 1, []string{"127.0.0.1:1"}) // from what the first watch heard

		second := newFake("two")
		second.set("127.0.0.1:2")
		network.Up(second.handler())
		time.Sleep(1200 * time.Millisecond)
		got.check(t, 1, []string{"127.0.0.1:1"}, []string{"127.0.0.1:2"})
		late.check(t, 1, []string{"127.0.0.1:1"}, []string{"127.0.0.1:2"})
	})
}

func TestAReconnectRepeatsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newFake("one")
		registry.set("127.0.0.1:1")
		network := memhttp.New(registry.handler())
		defer network.Down()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		got := follow(ctx, newClient(t, network), "kitchen")
		synctest.Wait()
		network.Up(registry.handler())
		time.Sleep(time.Second)
		got.check(t, 1, []string{"127.0.0.1:1"})
		registry.set()
		got.check(t, 1, []string{"127.0.0.1:1"}, nil)
	})
}

func TestARevisionIsAcknowledgedWhenTheReceiverHasActed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newFake("one")
		network := memhttp.New(registry.handler())
		defer network.Down()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		step := make(chan struct{})
		go func() {
			for range newClient(t, network).Watch(ctx, "kitchen") {
				<-step
			}
		}()
		step <- struct{}{}
		registry.set("127.0.0.1:1")
		synctest.Wait()
		if !slices.Equal(registry.acked, []uint64{0}) {
			t.Errorf("acknowledged %v while the receiver still acts on 1, want [0]", registry.acked)
		}
		step <- struct{}{}
		synctest.Wait()
		if !slices.Equal(registry.acked, []uint64{0, 1}) {
			t.Errorf("acknowledged %v, want [0 1]", registry.acked)
		}
	})
}

func TestARegistrationBeatsComesBackAndLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := newFake("one")
		network := memhttp.New(registry.handler())
		defer network.Down()
		check := func(want ...string) {
			t.Helper()
			synctest.Wait()
			if got := registry.take(); !slices.Equal(got, want) {
				t.Errorf("the registry was asked %q, want %q", got, want)
			}
		}
		r, err := newClient(t, network).NewRegistration(discovery.Instance{Service: "kitchen", ID: "k1", Addr: "127.0.0.1:1", Status: discovery.Starting}, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- r.Run(ctx) }()
		<-r.Registered()
		check("register k1 STARTING lease=10s")
		if _, err := r.SetStatus(ctx, discovery.Up); err != nil {
			t.Error(err)
		}
		check("status UP await=0s")
		time.Sleep(9 * time.Second)
		check("renew", "renew")
		registry.mu.Lock()
		registry.unknown = true // as after a restart
		registry.mu.Unlock()
		time.Sleep(2 * time.Second)
		check("renew", "register k1 UP lease=10s")
		network.Down()
		time.Sleep(time.Minute)
		network.Up(registry.handler())
		time.Sleep(1100 * time.Millisecond)
		check("renew")
		waiting, err := r.SetStatus(ctx, discovery.Draining)
		if err != nil || !slices.Equal(waiting, []string{"slowpoke"}) {
			t.Errorf("SetStatus = %v, %v; want the one that lags", waiting, err)
		}
		check("status DRAINING await=2s")
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		check("deregister await=2s")
	})
}

func TestWhatCannotBeRegisteredIsRefusedWithTheReason(t *testing.T) {
	good := discovery.Instance{Service: "kitchen", ID: "k1", Addr: "127.0.0.1:80"}
	tests := []struct {
		name   string
		change func(*discovery.Instance)
	}{
		{"no service", func(in *discovery.Instance) { in.Service = "" }},
		{"a service in upper case", func(in *discovery.Instance) { in.Service = "Kitchen" }},
		{"a service with a dot", func(in *discovery.Instance) { in.Service = "a.b" }},
		{"a hyphen at the end", func(in *discovery.Instance) { in.Service = "a-" }},
		{"no id", func(in *discovery.Instance) { in.ID = "" }},
		{"an id with a dot", func(in *discovery.Instance) { in.ID = "k.1" }},
		{"a host name for an address", func(in *discovery.Instance) { in.Addr = "localhost:80" }},
		{"no port", func(in *discovery.Instance) { in.Addr = "127.0.0.1" }},
		{"port zero", func(in *discovery.Instance) { in.Addr = "127.0.0.1:0" }},
		{"every interface", func(in *discovery.Instance) { in.Addr = "0.0.0.0:80" }},
		{"a negative weight", func(in *discovery.Instance) { in.Weight = -1 }},
		{"too much metadata", func(in *discovery.Instance) { in.Meta = map[string]string{"k": string(make([]byte, 4096))} }},
	}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := good
			tt.change(&in)
			if err := in.Validate(); err == nil {
				t.Errorf("%+v was accepted", in)
			}
		})
	}
	for _, u := range []string{"", "127.0.0.1:8761", "ftp://host", "http://"} {
		if _, err := discovery.NewClient(u, "", nil); err == nil {
			t.Errorf("registry URL %q was accepted", u)
		}
	}
}

func TestAnInvalidRegistrationEndsRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := memhttp.New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"code":"invalid_argument","message":"no such place"}`)
		}))
		defer network.Down()
		r, err := newClient(t, network).NewRegistration(discovery.Instance{Service: "kitchen", ID: "k1", Addr: "127.0.0.1:1"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var refused *connect.Error
		if err := r.Run(t.Context()); !errors.As(err, &refused) || refused.Code() != connect.CodeInvalidArgument {
			t.Errorf("Run = %v, want the refusal", err)
		}
	})
}
