package rpi_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/discovery/discoverytest"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

// announcing is a resolver of instances that announce the fast wire.
func announcing(addrs ...string) *discoverytest.Resolver {
	r := &discoverytest.Resolver{}
	var all []discovery.Instance
	for _, a := range addrs {
		all = append(all, discovery.Instance{Service: "echo", ID: "at-" + a, Addr: a, Meta: map[string]string{discovery.MetaWire: discovery.WireGRPC}})
	}
	r.Set("echo", all...)
	return r
}

// protocols is an echo service that tells by which protocol it was called, and
// counts.
type protocols struct {
	streaming
	calls atomic.Int64
}

func (p *protocols) Echo(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	p.calls.Add(1)
	info, _ := connect.CallInfoForServerContext(ctx)
	return &echoapi.EchoResponse{Text: info.Protocol, Number: r.Number}, nil
}

// ordinary serves h as a service does: by the fast wire and by HTTP on one port.
func ordinary(t *testing.T, h echoapi.EchoServiceHandler) string {
	t.Helper()
	return ordinaryOn(t, h, func(l net.Listener) net.Listener { return l })
}

func ordinaryOn(t *testing.T, h echoapi.EchoServiceHandler, on func(net.Listener) net.Listener) string {
	t.Helper()
	s := rpi.NewServer(&rpi.ServerOptions{Logger: quiet})
	echoapi.RegisterEchoServiceHandler(s, h)
	fast := grpcwire.NewServer(s, &grpcwire.ServerOptions{Logger: quiet})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: rpi.Handler(s), Protocols: &http.Protocols{}}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	go server.Serve(fast.Beside(on(ln))) // until Close
	t.Cleanup(func() {
		server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := fast.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

func TestTheWireIsThatOfTheInstanceUnlessTheCallerChoseOne(t *testing.T) {
	t.Parallel()
	addr := ordinary(t, &protocols{})
	older := h2c(t, echoHandler(&protocols{}), nil) // knows nothing of the fast wire
	for name, c := range map[string]struct {
		resolver discovery.Resolver
		options  rpi.RemoteOptions
		want     string
	}{
		"an instance that announces it":                {announcing(addr), rpi.RemoteOptions{}, "grpc"},
		"one that announces it but only serves gRPC":   {announcing(older), rpi.RemoteOptions{}, "grpc"},
		"one that announces nothing":                   {at(addr), rpi.RemoteOptions{}, "connect"},
		"a fixed address":                              {discovery.Static(map[string][]string{"echo": {addr}}), rpi.RemoteOptions{}, "connect"},
		"the caller chose no wire of its own":          {announcing(addr), rpi.RemoteOptions{Wire: []connecthttp.Option{}}, "connect"},
		"the caller chose gRPC-Web":                    {announcing(addr), rpi.RemoteOptions{Wire: []connecthttp.Option{connecthttp.WithGRPCWeb()}}, "grpcweb"},
		"the caller chose HTTP/2":                      {announcing(addr), rpi.RemoteOptions{Conns: rpi.ConnOptions{HTTP2: true}}, "connect"},
		"the caller chose who carries the requests":    {announcing(addr), rpi.RemoteOptions{HTTP: &http.Transport{DisableKeepAlives: true}}, "connect"},
		"the caller chose another transport":           {at(addr), rpi.RemoteOptions{Endpoint: func(a string) connect.Transport { return grpcwire.NewTransport(a, nil) }}, "grpc"},
		"the caller makes the connections, as always":  {announcing("127.0.0.1:1"), rpi.RemoteOptions{Conns: rpi.ConnOptions{DialContext: dialer(addr)}}, "grpc"},
		"the same with an instance that does not know": {announcing("127.0.0.1:1"), rpi.RemoteOptions{Conns: rpi.ConnOptions{DialContext: dialer(older)}}, "grpc"},
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := remote(t, c.resolver, &c.options)
			for range 3 {
				if res, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); err != nil || res.Text != c.want {
					t.Errorf("got %v, %v, want %s", res, err, c.want)
				}
			}
		})
	}
	client, _ := remote(t, announcing(addr), nil)
	testStreams(t, client)
}

func dialer(addr string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
}

func TestAnInstanceThatNoLongerAnnouncesItIsCalledOverConnect(t *testing.T) {
	t.Parallel()
	addr := ordinary(t, &protocols{})
	instances := announcing(addr)
	client, transport := remote(t, instances, nil)
	for _, want := range []string{"grpc", "connect", "grpc"} {
		if res, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); err != nil || res.Text != want {
			t.Errorf("got %v, %v, want %s", res, err, want)
		}
		meta := map[string]string{}
		if want == "connect" {
			meta[discovery.MetaWire] = discovery.WireGRPC
		}
		in := discovery.Instance{Service: "echo", ID: "at-" + addr, Addr: addr, Meta: meta}
		instances.Set("echo", in)
		transport.Balancer().Update(discovery.Snapshot{Service: "echo", Instances: []discovery.Instance{in}}) // Run does so, some time
	}
}

// between forwards connections to addr, unless they begin as HTTP/2 does: those
// it treats as it is told to.
func between(t *testing.T, addr string, http2 func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer near.Close()
				first := make([]byte, 3)
				if _, err := io.ReadFull(near, first); err != nil {
					return
				}
				if string(first) == "PRI" {
					http2(near)
					return
				}
				far, err := net.Dial("tcp", addr)
				if err != nil {
					return
				}
				defer far.Close()
				if _, err := far.Write(first); err != nil {
					return
				}
				go func() { io.Copy(far, near); far.Close() }() // until either end closes
				io.Copy(near, far)                              // as above
			})
		}
	})
	return l.Addr().String()
}

func TestAWayThatOnlyLetsHTTP1ThroughIsNoticed(t *testing.T) {
	t.Parallel()
	for name, http2 := range map[string]func(net.Conn){
		"it answers with HTTP/1.1": func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n") // and that it closes is enough
		},
		"it answers and stays": func(c net.Conn) {
			io.WriteString(c, "HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Length: 0\r\n\r\n") // as above
			io.Copy(io.Discard, c)                                                                    // until the other end closes
		},
		"it closes":        func(net.Conn) {},
		"it says nothing":  func(c net.Conn) { io.Copy(io.Discard, c) }, // until the other end closes
		"it breaks it off": func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := &protocols{}
			addr := between(t, ordinary(t, h), http2)
			var logged bytes.Buffer
			transport := rpi.Remote("echo", announcing(addr), &rpi.RemoteOptions{Logger: slog.New(slog.NewTextHandler(&logged, nil)), Conns: rpi.ConnOptions{Dial: 300 * time.Millisecond}})
			ctx, stop := context.WithCancel(t.Context())
			var running sync.WaitGroup
			running.Go(func() { transport.Run(ctx) }) // ends with ctx
			client := echoapi.NewEchoServiceClient(connect.NewClient(transport))
			const calls = 20 // not idempotent, and at once
			inParallel(calls, calls, func(int) {
				if res, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); err != nil || res.Text != "connect" {
					t.Errorf("got %v, %v, want an answer over Connect", res, err)
				}
			})
			if n := h.calls.Load(); n != calls {
				t.Errorf("%d calls were executed %d times", calls, n)
			}
			stream, err := client.CountUp(t.Context(), &echoapi.EchoRequest{Number: 1})
			if err != nil {
				t.Fatal(err)
			}
			if m, err := stream.Receive(); err != nil || m.Number != 1 {
				t.Errorf("got %v, %v", m, err)
			}
			stream.Close() // it has served its purpose
			stop()
			running.Wait()
			if n := strings.Count(logged.String(), "\n"); n != 1 || !strings.Contains(logged.String(), "calls go over Connect") {
				t.Errorf("logged %d lines, want one that says so:\n%s", n, &logged)
			}
		})
	}
}

// The way may change.
func TestTheFastWireIsTriedAgainAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := rpi.NewServer(&rpi.ServerOptions{Logger: quiet})
		echoapi.RegisterEchoServiceHandler(s, &protocols{})
		fast := grpcwire.NewServer(s, &grpcwire.ServerOptions{Logger: quiet})
		ln := &inMemory{conns: make(chan net.Conn), closed: make(chan struct{})}
		server := &http.Server{Handler: rpi.Handler(s)}
		go server.Serve(fast.Beside(ln)) // until Close
		var open atomic.Bool
		var asked atomic.Int64 // for the fast wire in vain
		client, _ := remote(t, announcing("echo:80"), &rpi.RemoteOptions{Conns: rpi.ConnOptions{DialContext: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			if open.Load() {
				return near, ln.give(far)
			}
			go func() {
				first := make([]byte, 3)
				if _, err := io.ReadFull(far, first); err != nil || string(first) == "PRI" {
					asked.Add(1)
					far.Close()
					return
				}
				ln.give(&begun{far, bytes.NewReader(first)}) // it is taken, or the test has ended
			}()
			return near, nil
		}}})
		for n, want := range []string{"connect", "connect", "connect", "grpc", "grpc"} {
			if n == 2 {
				open.Store(true)
			}
			if res, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); err != nil || res.Text != want {
				t.Errorf("call %d: %v, %v, want %s", n, res, err, want)
			}
			time.Sleep(25 * time.Second)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("the fast wire was tried %d times within a minute, want once", n)
		}
		server.Close()
		if err := fast.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// inMemory is a listener for the ends of pipes.
type inMemory struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

var errNoListener = errors.New("nobody listens")

func (l *inMemory) give(c net.Conn) error {
	select {
	case l.conns <- c:
		return nil
	case <-l.closed:
		c.Close()
		return errNoListener
	}
}

func (l *inMemory) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *inMemory) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *inMemory) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

// begun is a connection of which something was read before.
type begun struct {
	net.Conn
	first *bytes.Reader
}

func (b *begun) Read(p []byte) (int, error) {
	if b.first.Len() > 0 {
		return b.first.Read(p)
	}
	return b.Conn.Read(p)
}
