package registry_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/discovery/registryapi"
	"github.com/cleave-go/cleave/platform/registry"
	"github.com/cleave-go/cleave/platform/router"
)

// start runs a registry on free ports until the test ends, or until the returned Faces' stop is called.
func start(t *testing.T, opts registry.Options) started {
	t.Helper()
	opts.Listen, opts.DNS = "127.0.0.1:0", "127.0.0.1:0"
	opts.Logger = slog.New(slog.DiscardHandler)
	if opts.Router.Listen == nil {
		opts.Router.Listen = func(addr string) (net.Listener, error) { // the address as asked, any free port
			host, _, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return net.Listen("tcp", net.JoinHostPort(host, "0"))
		}
	}
	ready := make(chan registry.Faces, 1)
	opts.Ready = func(f registry.Faces) { ready <- f }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- registry.Run(ctx, opts) }()
	select {
	case f := <-ready:
		stop := sync.OnceFunc(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
		t.Cleanup(stop)
		return started{f, stop}
	case err := <-done:
		cancel()
		t.Fatal(err)
		return started{}
	}
}

type started struct {
	registry.Faces
	stop func()
}

func realClient(t *testing.T, url string) *discovery.Client {
	t.Helper()
	c, err := discovery.NewClient(url, "", &discovery.ClientOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// join registers a server that answers its name.
func join(t *testing.T, c *discovery.Client, service, id string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, id) }))
	t.Cleanup(server.Close)
	reg, err := c.NewRegistration(discovery.Instance{Service: service, ID: id, Addr: server.Listener.Addr().String()}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- reg.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	<-reg.Registered()
}

func vip(t *testing.T, c *discovery.Client, service string) discovery.Snapshot {
	t.Helper()
	all, err := c.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range all {
		if s.Service == service {
			return s
		}
	}
	t.Fatalf("no service %s in %v", service, all)
	return discovery.Snapshot{}
}

func TestAServiceIsReachedByNameAndVirtualAddress(t *testing.T) {
	faces := start(t, registry.Options{Dir: t.TempDir()})
	c := realClient(t, faces.URL)
	join(t, c, "kitchen", "k1")
	s := vip(t, c, "kitchen")
	if !strings.HasPrefix(s.VIP, "127.77.") {
		t.Fatalf("virtual address %q, want one of 127.77.0.0/16", s.VIP)
	}
	host, _, _ := net.SplitHostPort(s.VIP)
	for _, network := range []string{"udp", "tcp"} {
		if got := show(t, dig(t, network, faces.DNS, question("kitchen.svc.cleave.", dnsmessage.TypeA))); got != "Success "+host {
			t.Errorf("over %s the name is %q, want %s", network, got, host)
		}
	}
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, faces.DNS)
	}}
	if got, err := resolver.LookupHost(t.Context(), "kitchen.svc.cleave"); err != nil || len(got) != 1 || got[0] != host {
		t.Errorf("Go's resolver says %v, %v; want %s", got, err, host)
	}
	if _, srv, err := resolver.LookupSRV(t.Context(), "http", "tcp", "kitchen.svc.cleave"); err != nil || len(srv) != 1 || srv[0].Target != "k1.kitchen.inst.cleave." {
		t.Errorf("Go's resolver says %v, %v; want k1", srv, err)
	}
	res, err := http.Get("http://" + s.VIP)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); string(body) != "k1" {
		t.Errorf("behind the virtual address answers %q", body)
	}
}

func dig(t *testing.T, network, addr string, q []byte) []byte {
	t.Helper()
	conn, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if network == "udp" {
		conn.Write(q)
		buf := make([]byte, 4096)
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return buf[:n]
	}
	// Two requests on one connection, the second in pieces.
	framed := append(binary.BigEndian.AppendUint16(nil, uint16(len(q))), q...)
	conn.Write(framed)
	conn.Write(framed[:5])
	conn.Write(framed[5:])
	var out [2][]byte
	for i := range out {
		var size uint16
		if err := binary.Read(conn, binary.BigEndian, &size); err != nil {
			t.Fatal(err)
		}
		out[i] = make([]byte, size)
		if _, err := io.ReadFull(conn, out[i]); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(out[0], out[1]) {
		t.Errorf("two answers to one question: %x and %x", out[0], out[1])
	}
	return out[0]
}

func TestVirtualAddressesAndInstancesOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	first := start(t, registry.Options{Dir: dir})
	c := realClient(t, first.URL)
	want := map[string]string{}
	for _, service := range []string{"kitchen", "order", "a", "b", "c"} {
		want[service] = registryOnly(t, c, service)
	}
	awaitFile(t, filepath.Join(dir, "instances.json"), `"c"`)
	first.stop()

	second := start(t, registry.Options{Dir: dir})
	all, err := realClient(t, second.URL).List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != len(want) {
		t.Errorf("%d services after the restart, want %d", len(all), len(want))
	}
	for _, s := range all {
		host, _, _ := net.SplitHostPort(s.VIP)
		if host != want[s.Service] || len(s.Instances) != 1 {
			t.Errorf("%s is at %s with %d instances, want %s with one", s.Service, host, len(s.Instances), want[s.Service])
		}
	}
}

// registryOnly registers an instance nobody renews and returns the host of the virtual address.
func registryOnly(t *testing.T, c *discovery.Client, service string) string {
	t.Helper()
	_, err := c.API().Register(t.Context(), &registryapi.RegisterRequest{
		Instance: &registryapi.Instance{Service: service, Id: "x", Addr: "127.0.0.1:1"}, Registrar: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	host, _, err := net.SplitHostPort(vip(t, c, service).VIP)
	if err != nil {
		t.Fatal(err)
	}
	return host
}

func awaitFile(t *testing.T, path, content string) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		if data, err := os.ReadFile(path); err == nil && strings.Contains(string(data), content) {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s never held %s", path, content)
}

func TestListSaysWhyAVirtualAddressIsNotOnPort80(t *testing.T) {
	tests := []struct {
		name string
		port int
		note bool
	}{{"the standard port", 0, false}, {"a port that is not possible", 80, true}}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			opts := registry.Options{Router: router.Options{FallbackPort: 17070}}
			if tt.note {
				opts.Router.Listen = func(addr string) (net.Listener, error) {
					if strings.HasSuffix(addr, ":80") {
						return nil, &net.OpError{Op: "listen", Err: os.ErrPermission}
					}
					return net.Listen("tcp", addr)
				}
			}
			c := realClient(t, start(t, opts).URL)
			join(t, c, "kitchen", "k1")
			s := vip(t, c, "kitchen")
			if tt.note != strings.HasSuffix(s.VIP, ":17070") || tt.note != strings.Contains(s.VIPNote, "listening on 17070") {
				t.Errorf("virtual address %s, note %q", s.VIP, s.VIPNote)
			}
		})
	}
}

func TestARegistryThatCannotRunSaysWhy(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "vips.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		opts registry.Options
		want string
	}{
		{"its address is taken", registry.Options{Listen: taken.Addr().String()}, "address already in use"},
		{"the address of its DNS is taken", registry.Options{Listen: "127.0.0.1:0", DNS: taken.Addr().String()}, "DNS"},
		{"a domain that is none", registry.Options{Domain: "."}, "domain"},
		{"a broken file of addresses", registry.Options{Dir: broken}, "delete the file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := registry.Run(t.Context(), tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run = %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestABrokenFileOfInstancesIsNoObstacle(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "instances.json"), []byte("[{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := realClient(t, start(t, registry.Options{Dir: dir}).URL).List(t.Context()); err != nil || len(all) != 0 {
		t.Errorf("List = %v, %v; want nothing yet", all, err)
	}
}
