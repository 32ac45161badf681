package router_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/discovery/discoverytest"
	"github.com/cleave-go/cleave/platform/router"
)

// backend runs handle for each connection and returns its instance.
func backend(t *testing.T, id string, handle func(*net.TCPConn)) discovery.Instance {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer conn.Close()
				handle(conn.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		open.Wait()
	})
	return discovery.Instance{ID: id, Addr: l.Addr().String()}
}

// sayID answers its id to whatever line comes, until the client ends.
func sayID(id string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		buf := make([]byte, 1)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			fmt.Fprintf(c, "%s\n", id)
		}
	}
}

// refused is the address of nobody.
func refused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func listenAnywhere(addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	return net.Listen("tcp", net.JoinHostPort(host, "0"))
}

// run starts a router for the service kitchen and returns where it listens.
func run(t *testing.T, resolver discovery.Resolver, opts router.Options) string {
	t.Helper()
	if opts.Listen == nil {
		opts.Listen = listenAnywhere
	}
	opts.Logger = slog.New(slog.DiscardHandler)
	r := router.New(resolver, &opts)
	bound, err := r.Bind("kitchen", netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return bound.Addr.String()
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { conn.Close() })
	return conn.(*net.TCPConn)
}

// ask sends a byte and returns the line that comes back.
func ask(t *testing.T, conn net.Conn) string {
	t.Helper()
	if _, err := conn.Write([]byte("?")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 64)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(buf[:n]))
}

func TestEachDirectionEndsOnItsOwn(t *testing.T) {
	const size = 8 << 20
	blob := bytes.Repeat([]byte("cleave! "), size/8)
	tests := []struct {
		name   string
		server func(*net.TCPConn)
		client func(*testing.T, *net.TCPConn)
	}{
		{"the client finishes sending and still reads the answer",
			func(c *net.TCPConn) {
				got, err := io.ReadAll(c)
				fmt.Fprintf(c, "%d %v", len(got), err)
			},
			func(t *testing.T, c *net.TCPConn) {
				if _, err := c.Write(blob); err != nil {
					t.Fatal(err)
				}
				c.CloseWrite()
				if got, err := io.ReadAll(c); string(got) != fmt.Sprintf("%d <nil>", size) {
					t.Errorf("answer %q, %v", got, err)
				}
			}},
		{"the server finishes first and still hears the client",
			func(c *net.TCPConn) {
				c.Write(blob)
				c.CloseWrite()
				io.ReadAll(c)
			},
			func(t *testing.T, c *net.TCPConn) {
				got, err := io.ReadAll(c)
				if err != nil || !bytes.Equal(got, blob) {
					t.Fatalf("%d bytes, %v; want %d as they were sent", len(got), err, size)
				}
				if _, err := c.Write([]byte("thanks")); err != nil {
					t.Errorf("write after the server's end: %v", err)
				}
			}},
		{"both talk at once",
			func(c *net.TCPConn) { io.Copy(c, c) },
			func(t *testing.T, c *net.TCPConn) {
				go func() {
					c.Write(blob)
					c.CloseWrite()
				}()
				if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, blob) {
					t.Errorf("%d bytes, %v; want %d as they were sent", len(got), err, size)
				}
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var resolver discoverytest.Resolver
			resolver.Set("kitchen", backend(t, "a", tt.server))
			tt.client(t, dial(t, run(t, &resolver, router.Options{})))
		})
	}
}

func TestAnInstanceThatCannotBeReachedCostsTheClientNothing(t *testing.T) {
	var resolver discoverytest.Resolver
	resolver.Set("kitchen",
		discovery.Instance{ID: "dead1", Addr: refused(t)},
		discovery.Instance{ID: "dead2", Addr: refused(t)},
		backend(t, "alive", sayID("alive")))
	addr := run(t, &resolver, router.Options{})
	for range 50 {
		if got := ask(t, dial(t, addr)); got != "alive" {
			t.Fatalf("answer %q, want alive", got)
		}
	}
}

func TestWithNoLiveInstanceAConnectionIsClosedAtOnce(t *testing.T) {
	tests := []struct {
		name      string
		instances []discovery.Instance
	}{
		{"none registered", nil},
		{"only a draining one", []discovery.Instance{{ID: "a", Addr: "127.0.0.1:1", Status: discovery.Draining}}},
		{"only a dead one", []discovery.Instance{{ID: "a", Addr: refused(t)}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var resolver discoverytest.Resolver
			resolver.Set("kitchen", tt.instances...)
			conn := dial(t, run(t, &resolver, router.Options{}))
			begin := time.Now()
			if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("read: %v, want the end of the connection", err)
			}
			if d := time.Since(begin); d > time.Second {
				t.Errorf("closed after %v, want at once", d)
			}
		})
	}
}

func TestADrainingInstanceKeepsItsConnectionsAndGetsNoNewOne(t *testing.T) {
	var resolver discoverytest.Resolver
	a, b := backend(t, "a", sayID("a")), backend(t, "b", sayID("b"))
	resolver.Set("kitchen", a)
	addr := run(t, &resolver, router.Options{})
	old := dial(t, addr)
	if got := ask(t, old); got != "a" {
		t.Fatalf("answer %q", got)
	}
	a.Status = discovery.Draining
	resolver.Set("kitchen", a, b)
	for ask(t, dial(t, addr)) != "b" { // until the router has heard of it
	}
	for range 20 {
		if got := ask(t, dial(t, addr)); got != "b" {
			t.Fatalf("a new connection went to %q", got)
		}
	}
	if got := ask(t, old); got != "a" {
		t.Errorf("the old connection now reaches %q", got)
	}
}

func TestConnectionsAreSpreadOverTheInstances(t *testing.T) {
	var resolver discoverytest.Resolver
	var all []discovery.Instance
	for _, id := range []string{"a", "b", "c", "d"} {
		all = append(all, backend(t, id, sayID(id)))
	}
	resolver.Set("kitchen", all...)
	addr := run(t, &resolver, router.Options{})
	got := map[string]int{}
	for range 200 { // all stay open
		got[ask(t, dial(t, addr))]++
	}
	for _, in := range all {
		if n := got[in.ID]; n < 20 || n > 90 {
			t.Errorf("%s holds %d of 200 connections, want about 50 (all: %v)", in.ID, n, got)
		}
	}
}

func TestABindFindsAFreeAddressOrSaysWhyNot(t *testing.T) {
	errno := func(err error) error { return &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", err)} }
	one, two := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	tests := []struct {
		name   string
		listen func(addr string) error
		want   []string // tried
		note   string
	}{
		{"the first that is free", func(string) error { return nil }, []string{"127.0.0.1:80"}, ""},
		{"the next when another listens there",
			func(a string) error {
				if a == "127.0.0.1:80" {
					return errno(syscall.EADDRINUSE)
				}
				return nil
			}, []string{"127.0.0.1:80", "127.0.0.2:80"}, ""},
		{"the fallback port when the standard port is not allowed",
			func(a string) error {
				if strings.HasSuffix(a, ":80") {
					return errno(syscall.EACCES)
				}
				return nil
			}, []string{"127.0.0.1:80", "127.0.0.1:7070"}, "port 80 is not possible here"},
		{"the fallback port when something holds the standard port everywhere",
			func(a string) error {
				if strings.HasSuffix(a, ":80") {
					return errno(syscall.EADDRINUSE)
				}
				return nil
			}, []string{"127.0.0.1:80", "127.0.0.2:80", "127.0.0.1:7070"}, "listening on 7070"},
		{"any port of 127.0.0.1 when the machine has no such address",
			func(a string) error {
				if a != "127.0.0.1:0" {
					return errno(syscall.EADDRNOTAVAIL)
				}
				return nil
			}, []string{"127.0.0.1:80", "127.0.0.1:0"}, "not on this machine"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var tried []string
			r := router.New(&discoverytest.Resolver{}, &router.Options{Listen: func(addr string) (net.Listener, error) {
				tried = append(tried, addr)
				if err := tt.listen(addr); err != nil {
					return nil, err
				}
				return listenAnywhere(addr)
			}})
			bound, err := r.Bind("kitchen", one, two)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Join(tried, " ") != strings.Join(tt.want, " ") {
				t.Errorf("tried %v, want %v", tried, tt.want)
			}
			if !strings.Contains(bound.Note, tt.note) || (tt.note == "") != (bound.Note == "") {
				t.Errorf("note %q, want %q in it", bound.Note, tt.note)
			}
			again, err := r.Bind("kitchen", one, two)
			if err != nil || again != bound {
				t.Errorf("bound again at %v, %v; want %v", again, err, bound)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			r.Run(ctx) // closes the listener
		})
	}
}

func TestTheEndOfRunClosesEverything(t *testing.T) {
	var resolver discoverytest.Resolver
	resolver.Set("kitchen", backend(t, "a", sayID("a")))
	r := router.New(&resolver, &router.Options{Listen: listenAnywhere})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- r.Run(ctx) }()
	bound, err := r.Bind("kitchen", netip.MustParseAddr("127.0.0.1")) // while it runs, or before
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, bound.Addr.String())
	ask(t, conn)
	if s := r.List(); len(s) != 1 || s[0].Service != "kitchen" || s[0].Open < 1 {
		t.Errorf("List = %+v", s)
	}
	cancel()
	<-done
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read after the end: %v", err)
	}
	if _, err := net.Dial("tcp", bound.Addr.String()); err == nil {
		t.Error("the address still answers")
	}
}

func TestConnectionsBeyondTheBoundWaitTheirTurn(t *testing.T) {
	var resolver discoverytest.Resolver
	resolver.Set("kitchen", backend(t, "a", sayID("a")))
	addr := run(t, &resolver, router.Options{MaxConns: 1})
	first := dial(t, addr)
	ask(t, first)
	second := dial(t, addr)
	second.Write([]byte("?"))
	second.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := second.Read(make([]byte, 8)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a second connection was served beside the first: %v", err)
	}
	first.Close()
	second.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := second.Read(make([]byte, 8)); err != nil {
		t.Errorf("the second connection after the first ended: %v", err)
	}
}

func BenchmarkKeptConnection(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c)
		}
	}()
	r := router.New(discovery.Static(map[string][]string{"kitchen": {l.Addr().String()}}), &router.Options{Listen: listenAnywhere})
	bound, err := r.Bind("kitchen", netip.MustParseAddr("127.0.0.1"))
	if err != nil {
		b.Fatal(err)
	}
	go r.Run(b.Context())
	for name, addr := range map[string]string{"direct": l.Addr().String(), "routed": bound.Addr.String()} {
		b.Run(name, func(b *testing.B) {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			buf := make([]byte, 64)
			for b.Loop() {
				conn.Write(buf)
				if _, err := io.ReadFull(conn, buf); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
