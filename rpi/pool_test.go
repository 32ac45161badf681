package rpi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/cleave-go/cleave/breaker"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/internal/memhttp"
	"github.com/cleave-go/cleave/rpi"
)

// h2c serves h over HTTP/1.1 and HTTP/2 without TLS.
func h2c(t *testing.T, h http.Handler, set func(*http.Server)) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = &http.Protocols{}
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	if set != nil {
		set(s.Config)
	}
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func echoHandler(h echoapi.EchoServiceHandler) http.Handler {
	s := rpi.NewServer(&rpi.ServerOptions{Logger: quiet})
	echoapi.RegisterEchoServiceHandler(s, h)
	return rpi.Handler(s)
}

// metricsOnly returns a breaker that never opens.
func metricsOnly(t testing.TB) *breaker.Breaker {
	t.Helper()
	b, err := breaker.New("echo", &breaker.Options{Classify: rpi.Classify})
	if err != nil {
		t.Fatal(err)
	}
	b.SetMode(breaker.MetricsOnly)
	return b
}

type netConnKey struct{}

// hangsUp executes requests; all but the first it leaves unanswered and closes
// their connection.
func hangsUp(t *testing.T, executed *atomic.Int64) string {
	next := echoHandler(&answering{})
	return h2c(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if executed.Add(1) == 1 {
			next.ServeHTTP(w, r)
			return
		}
		io.Copy(io.Discard, r.Body) // the test counts
		r.Context().Value(netConnKey{}).(net.Conn).Close()
	}), keepConn)
}

// keepConn lets handlers reach their connection.
func keepConn(s *http.Server) {
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, netConnKey{}, c) }
}

func TestNothingBelowTheChainSendsARequestAgain(t *testing.T) {
	t.Parallel()
	calls := []struct {
		name string
		call func(context.Context, echoapi.EchoServiceClient) error
	}{
		{"POST", func(ctx context.Context, c echoapi.EchoServiceClient) error {
			_, err := c.Echo(ctx, &echoapi.EchoRequest{Text: "x"})
			return err
		}},
		{"GET", func(ctx context.Context, c echoapi.EchoServiceClient) error {
			_, err := c.Look(ctx, &echoapi.EchoRequest{Text: "x"})
			return err
		}},
		{"POST with Idempotency-Key", func(ctx context.Context, c echoapi.EchoServiceClient) error {
			ctx, info := connect.NewClientContext(ctx)
			info.RequestHeader().Set("Idempotency-Key", "1")
			_, err := c.Echo(ctx, &echoapi.EchoRequest{Text: "x"})
			return err
		}},
	}
	for _, wire := range []struct {
		name     string
		o        rpi.RemoteOptions
		executed int64
	}{
		{"HTTP/1.1", rpi.RemoteOptions{}, 2},
		{"HTTP/2", rpi.RemoteOptions{Conns: rpi.ConnOptions{HTTP2: true}}, 2},
		// What the test would see if something did.
		{"net/http", rpi.RemoteOptions{HTTP: &http.Transport{}}, 3},
	} {
		for _, c := range calls {
			t.Run(wire.name+" "+c.name, func(t *testing.T) {
				t.Parallel()
				var executed atomic.Int64
				o := wire.o
				o.Attempts, o.Wire = 1, []connecthttp.Option{connecthttp.WithHTTPGet()}
				client, _ := remote(t, at(hangsUp(t, &executed)), &o)
				if err := c.call(t.Context(), client); err != nil {
					t.Fatal(err)
				}
				if err := c.call(t.Context(), client); connect.CodeOf(err) != connect.CodeUnavailable {
					t.Errorf("got %v, want unavailable", err)
				}
				want := wire.executed
				if c.name == "POST" {
					want = 2
				}
				if n := executed.Load(); n != want {
					t.Errorf("executed %d times for 2 calls, want %d", n, want)
				}
			})
		}
	}
}

// slow answers when it is let go, and counts who waits.
type slow struct {
	echoapi.UnimplementedEchoServiceHandler
	inside chan struct{}
	leave  chan struct{}
}

func (s slow) Echo(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	s.inside <- struct{}{}
	select {
	case <-s.leave:
	case <-ctx.Done():
	}
	return &echoapi.EchoResponse{}, nil
}

// counted counts the connections of a server.
type counted struct{ made, open atomic.Int64 }

func (c *counted) count(s *http.Server) {
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			c.made.Add(1)
			c.open.Add(1)
		case http.StateClosed, http.StateHijacked:
			c.open.Add(-1)
		}
	}
}

func TestCallsBeyondTheConnectionsWaitForOne(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		conns  rpi.ConnOptions
		inside int // calls at a time
	}{
		{"HTTP/1.1", rpi.ConnOptions{Max: 2}, 2},
		{"HTTP/2", rpi.ConnOptions{Max: 2, HTTP2: true}, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := slow{inside: make(chan struct{}), leave: make(chan struct{})}, counted{}
			client, _ := remote(t, at(h2c(t, echoHandler(s), c.count)), &rpi.RemoteOptions{Conns: tt.conns})
			var calls sync.WaitGroup
			call := func(ctx context.Context) (err error) {
				_, err = client.Echo(ctx, &echoapi.EchoRequest{})
				return err
			}
			for range tt.inside + 10 {
				calls.Go(func() {
					if err := call(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			for range tt.inside {
				<-s.inside
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			if err := call(ctx); connect.CodeOf(err) != connect.CodeDeadlineExceeded {
				t.Errorf("a call that waits for a connection ended with %v", err)
			}
			close(s.leave)
			for range 10 {
				<-s.inside
			}
			calls.Wait()
			if n := c.made.Load(); n != 2 {
				t.Errorf("%d connections were made, want 2", n)
			}
		})
	}
}

func TestConnectionsEndWhenUnusedAndWithTheirInstance(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %v", h2), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem, open := memhttp.New(echoHandler(&answering{name: "x"})), atomic.Int64{}
				defer mem.Down()
				where := at("10.0.0.1:80")
				transport := rpi.Remote("echo", where, &rpi.RemoteOptions{Logger: quiet, Conns: rpi.ConnOptions{HTTP2: h2, Idle: time.Second,
					DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
						nc, err := mem.Dial(ctx, network, addr)
						open.Add(1)
						return &closing{Conn: nc, closed: func() { open.Add(-1) }}, err
					}}})
				ctx, cancel := context.WithCancel(t.Context())
				var running sync.WaitGroup
				running.Go(func() { transport.Run(ctx) }) // ends with ctx
				client := echoapi.NewEchoServiceClient(connect.NewClient(transport))
				call := func(want int64) {
					t.Helper()
					if _, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); err != nil {
						t.Error(err)
					}
					synctest.Wait()
					if n := open.Load(); n != want {
						t.Errorf("%d connections are open, want %d", n, want)
					}
				}
				call(1)
				time.Sleep(900 * time.Millisecond)
				call(1)
				time.Sleep(1100 * time.Millisecond)
				synctest.Wait()
				if n := open.Load(); n != 0 {
					t.Errorf("%d connections are open after they were unused for too long", n)
				}
				call(1)
				set(where)
				synctest.Wait()
				if n := open.Load(); n != 0 {
					t.Errorf("%d connections are open to an instance that is gone", n)
				}
				cancel()
				running.Wait()
			})
		})
	}
}

// closing tells of its end.
type closing struct {
	net.Conn
	once   sync.Once
	closed func()
}

func (c *closing) Close() error {
	c.once.Do(c.closed)
	return c.Conn.Close()
}

// proxy forwards connections until it is told to swallow what comes.
type proxy struct {
	addr   string
	silent atomic.Bool
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	p := &proxy{addr: l.Addr().String()}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				return
			}
			go p.forward(near, far)
			go p.forward(far, near)
		}
	}()
	return p
}

func (p *proxy) forward(from, to net.Conn) {
	defer from.Close()
	buf := make([]byte, 1<<12)
	for {
		n, err := from.Read(buf)
		if err != nil {
			if !p.silent.Load() {
				to.Close()
			}
			return
		}
		if !p.silent.Load() {
			to.Write(buf[:n]) // the other direction ends
		}
	}
}

// A peer that is there for TCP but not for us. With the defaults
// (CLEAVE_LONG=1) it is out of use within 15 s, whatever time the calls have.
func TestABlackHoledPeerIsOutOfUse(t *testing.T) {
	t.Parallel()
	limit, conns := 3*time.Second, rpi.ConnOptions{Ping: 500 * time.Millisecond, Pong: 250 * time.Millisecond}
	if os.Getenv("CLEAVE_LONG") != "" {
		limit, conns = 15*time.Second, rpi.ConnOptions{}
	}
	for _, wire := range []string{"HTTP/1.1", "HTTP/2", "fast wire"} {
		t.Run(wire, func(t *testing.T) {
			t.Parallel()
			p := newProxy(t, ordinary(t, &answering{name: "silent"}))
			o := rpi.RemoteOptions{Conns: conns, Breaker: metricsOnly(t)}
			o.Conns.HTTP2 = wire == "HTTP/2"
			instances := at
			if wire == "fast wire" {
				instances = announcing
			}
			client, _ := remote(t, instances(p.addr, ordinary(t, &answering{name: "well"})), &o)
			ctx, stop := context.WithTimeout(t.Context(), 2*limit)
			defer stop()
			var mu sync.Mutex
			var begin, last time.Time // of the silence, of the last call that hung
			var calls, hung, failed int
			underWay := make(chan struct{})
			var callers sync.WaitGroup
			for range 4 {
				callers.Go(func() {
					for ctx.Err() == nil {
						sent := time.Now()
						_, err := client.Look(t.Context(), &echoapi.EchoRequest{}) // 10 s
						mu.Lock()
						if calls++; calls == 100 {
							close(underWay)
						}
						if err != nil {
							failed++
						}
						if time.Since(sent) > limit/6 {
							hung++
							last = time.Now()
						}
						mu.Unlock()
						time.Sleep(time.Millisecond) // paces the load
					}
				})
			}
			<-underWay
			mu.Lock()
			begin = time.Now()
			p.silent.Store(true)
			mu.Unlock()
			callers.Wait()
			t.Logf("%d calls, %d hung, %d failed; out of use after %v", calls, hung, failed, last.Sub(begin))
			if hung == 0 || last.Sub(begin) > limit {
				t.Errorf("%d calls hung, the last ended %v after the silence began, want some within %v", hung, last.Sub(begin), limit)
			}
		})
	}
}

func TestAnAnswerThatBreaksOffIsAConnectionThatBroke(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %v", h2), func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			whole := echoHandler(&answering{name: "whole"})
			addr := h2c(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if asked.Add(1) > 1 {
					whole.ServeHTTP(w, r)
					return
				}
				io.Copy(io.Discard, r.Body) // nothing to see
				w.Header().Set("Content-Type", "application/proto")
				w.Header().Set("Content-Length", "100")
				w.Write([]byte("half"))
				http.NewResponseController(w).Flush()
				r.Context().Value(netConnKey{}).(net.Conn).Close()
			}), keepConn)
			client, _ := remote(t, at(addr), &rpi.RemoteOptions{Conns: rpi.ConnOptions{HTTP2: h2}})
			res, err := client.Look(t.Context(), &echoapi.EchoRequest{})
			if err != nil || res.GetText() != "whole" {
				t.Errorf("got %v, %v, want the answer of a second try", res, err)
			}
		})
	}
}

var errNoDial = errors.New("no way there")

func TestWhoWaitsForADialThatFailsIsTold(t *testing.T) {
	t.Parallel()
	for _, h2 := range []bool{false, true} {
		client, _ := remote(t, at("10.0.0.1:80"), &rpi.RemoteOptions{Attempts: 1, Breaker: metricsOnly(t), Conns: rpi.ConnOptions{HTTP2: h2, Max: 2,
			DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, errNoDial }}})
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() {
				if _, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); connect.CodeOf(err) != connect.CodeUnavailable || !errors.Is(err, errNoDial) {
					t.Errorf("got %v, want unavailable for want of a connection", err)
				}
			})
		}
		callers.Wait()
	}
}

func TestADialThatTakesTooLongEndsNoCallUnderWay(t *testing.T) {
	t.Parallel()
	s := slow{inside: make(chan struct{}), leave: make(chan struct{})}
	var dials atomic.Int64
	client, _ := remote(t, at(h2c(t, echoHandler(s), nil)), &rpi.RemoteOptions{Attempts: 1, Conns: rpi.ConnOptions{Dial: 50 * time.Millisecond,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dials.Add(1) > 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		}}})
	under := make(chan error, 1)
	go func() {
		_, err := client.Echo(t.Context(), &echoapi.EchoRequest{})
		under <- err
	}()
	<-s.inside
	if _, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("a call without a connection ended with %v, want unavailable", err)
	}
	close(s.leave)
	if err := <-under; err != nil {
		t.Errorf("the call under way ended with %v", err)
	}
}
