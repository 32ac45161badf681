package registry_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/platform/registry"
)

// big returns a store of 1,000 services with 10 instances each.
func big(b *testing.B) (*registry.Store, []registry.Key) {
	b.Helper()
	s := newStore(&probed{})
	var keys []registry.Key
	for i := range 1000 {
		for j := range 10 {
			in := discovery.Instance{Service: fmt.Sprintf("s%d", i), ID: fmt.Sprintf("i%d", j), Addr: fmt.Sprintf("127.0.0.1:%d", 1+i*10+j)}
			if _, err := s.Register(registry.Registration{Instance: in, Lease: time.Hour}); err != nil {
				b.Fatal(err)
			}
			keys = append(keys, key(in))
		}
	}
	return s, keys
}

func BenchmarkRenewAmongTenThousand(b *testing.B) {
	s, keys := big(b)
	i := 0
	for b.Loop() {
		s.Renew(keys[i%len(keys)])
		i++
	}
}

func BenchmarkChangeAmongTenThousand(b *testing.B) {
	s, keys := big(b)
	i := 0
	for b.Loop() {
		if _, err := s.SetStatus(keys[i%len(keys)], discovery.Status(i/len(keys)%2)); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkChangeToHundredWatchers measures from a change until a hundred clients over HTTP have acted on
// it and acknowledged: the whole drain barrier.
func BenchmarkChangeToHundredWatchers(b *testing.B) {
	s := newStore(&probed{})
	faces := serve(b, s)
	acted := make(chan struct{}, 100)
	for range 100 {
		c, err := discovery.NewClient(faces, "", nil)
		if err != nil {
			b.Fatal(err)
		}
		go func() {
			for range c.Watch(b.Context(), "kitchen") {
				acted <- struct{}{}
			}
		}()
	}
	for range 100 {
		<-acted
	}
	i := 0
	for b.Loop() {
		in := instance("kitchen", 1)
		in.Weight = 1 + i%2
		i++
		snapshot, err := s.Register(registry.Registration{Instance: in})
		if err != nil {
			b.Fatal(err)
		}
		for range 100 {
			<-acted
		}
		if waiting := s.Await(b.Context(), "kitchen", snapshot.Revision, 2*time.Second); waiting != nil {
			b.Fatal(waiting)
		}
	}
}

func serve(b *testing.B, s *registry.Store) string {
	b.Helper()
	server := httptest.NewUnstartedServer(s.Handler(""))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(true)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	b.Cleanup(server.CloseClientConnections)
	return server.URL
}
