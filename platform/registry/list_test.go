package registry_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cleave-go/cleave/discovery/registryapi"
	"github.com/cleave-go/cleave/platform/registry"
	"github.com/cleave-go/cleave/platform/router"
)

func TestListShowsTheTermsOfEachInstanceAndWhoFollows(t *testing.T) {
	c := realClient(t, start(t, registry.Options{}).URL)
	_, err := c.API().Register(t.Context(), &registryapi.RegisterRequest{
		Instance: &registryapi.Instance{Service: "kitchen", Id: "k1", Addr: "127.0.0.1:1", Version: "v7", Weight: 5,
			Status: registryapi.Status_STARTING, Meta: map[string]string{"zone": "a"}},
		Lease: durationpb.New(time.Minute), Registrar: "supervisor",
	})
	if err != nil {
		t.Fatal(err)
	}
	followed := make(chan struct{}, 1)
	go func() {
		for range c.Watch(t.Context(), "order") {
			followed <- struct{}{}
		}
	}()
	<-followed
	res, err := c.API().List(t.Context(), &registryapi.ListRequest{Services: []string{"kitchen"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Services) != 1 || len(res.Services[0].Instances) != 1 {
		t.Fatalf("services %v, want kitchen with one instance", res.Services)
	}
	in := res.Services[0].Instances[0]
	if in.Version != "v7" || in.Weight != 5 || in.Status != registryapi.Status_STARTING || in.Meta["zone"] != "a" ||
		in.Lease.AsDuration() != time.Minute || in.Registrar != "supervisor" || time.Since(in.RegisteredAt.AsTime()) > time.Minute {
		t.Errorf("instance %v", in)
	}
	names := map[string]string{}
	for _, w := range res.Watchers {
		names[strings.Join(w.Services, " ")] = w.Name
	}
	if names["kitchen"] != "router" || names["order"] == "" {
		t.Errorf("watchers %v, want the router at kitchen and this test at order", names)
	}
}

func TestOnlyAnAddressOfTheCallersMachineCanBeRegistered(t *testing.T) {
	c := realClient(t, start(t, registry.Options{DisableRouter: true}).URL)
	tests := []struct {
		addr string
		ok   bool
	}{{"127.0.0.1:80", true}, {"127.77.9.9:80", true}, {"[::1]:80", true}, {"192.0.2.1:80", false}, {"[2001:db8::1]:80", false}}
	for _, tt := range tests {
		t.Run(tt.addr, func(t *testing.T) {
			_, err := c.API().Register(t.Context(), &registryapi.RegisterRequest{
				Instance: &registryapi.Instance{Service: "kitchen", Id: "k1", Addr: tt.addr},
			})
			if (err == nil) != tt.ok || err != nil && connect.CodeOf(err) != connect.CodeInvalidArgument {
				t.Errorf("answer %v, want it accepted: %v", err, tt.ok)
			}
		})
	}
}

func TestTwoSystemsOnOneMachineDoNotShareAVirtualAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	seen := map[string]bool{}
	for range 3 {
		opts := registry.Options{Router: router.Options{Port: port, Listen: func(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }}}
		c := realClient(t, start(t, opts).URL)
		join(t, c, "kitchen", "k1")
		s := vip(t, c, "kitchen")
		host, _, _ := net.SplitHostPort(s.VIP)
		if seen[host] || !strings.HasPrefix(host, "127.77.") || s.VIPNote != "" {
			t.Errorf("virtual address %s (%s) beside %v", s.VIP, s.VIPNote, seen)
		}
		seen[host] = true
	}
}
