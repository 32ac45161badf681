package rpi_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

// tally counts the executions of each call, by its number.
type tally struct {
	echoapi.UnimplementedEchoServiceHandler
	executed []atomic.Int32
}

func (s *tally) Echo(_ context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	s.executed[r.Number].Add(1)
	return &echoapi.EchoResponse{Number: r.Number}, nil
}

func (s *tally) Store(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return s.Echo(ctx, r)
}

// faulty serves next badly, now and then, in each way that leaves a caller
// without a proper answer.
func faulty(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fault := rand.IntN(100)
		conn := r.Context().Value(netConnKey{}).(net.Conn)
		hangUp := func() {
			if tcp, ok := conn.(*net.TCPConn); ok && fault%2 == 0 {
				tcp.SetLinger(0) // makes Close send a reset
			}
			conn.Close()
		}
		switch {
		case fault < 2: // before the request is read
			hangUp()
		case fault < 4: // after it is read, before it is executed
			io.Copy(io.Discard, r.Body) // as above
			hangUp()
		case fault < 6: // after it is executed
			next.ServeHTTP(httptest.NewRecorder(), r)
			hangUp()
		case fault < 8:
			http.Error(w, "not now", http.StatusServiceUnavailable)
		case fault < 10: // although it is executed
			next.ServeHTTP(httptest.NewRecorder(), r)
			http.Error(w, "not now", http.StatusServiceUnavailable)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// brittle has connections break off, now and then, before a request is read or
// after it was executed.
func brittle(l net.Listener) net.Listener { return &brittleListener{l} }

type brittleListener struct{ net.Listener }

func (l *brittleListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &brittleConn{Conn: c}, nil
}

type brittleConn struct {
	net.Conn
	uses atomic.Int32
}

// breaks does not let a connection break that has hardly begun: that the fast
// wire does not get through is another fault.
func (c *brittleConn) breaks() bool {
	if c.uses.Add(1) < 6 || rand.IntN(20) > 0 {
		return false
	}
	if rand.IntN(2) == 0 {
		c.Conn.(*net.TCPConn).SetLinger(0) // makes Close send a reset
	}
	c.Close()
	return true
}

func (c *brittleConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err == nil && c.breaks() {
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *brittleConn) Write(p []byte) (int, error) {
	if c.breaks() {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}

func TestFaultsExecuteNoCallTwiceThatIsNotIdempotent(t *testing.T) {
	t.Parallel()
	calls := 3_000
	if os.Getenv("CLEAVE_LONG") != "" {
		calls = 100_000
	}
	plain := func(rt *http.Client) func(context.Context, int) error {
		return func(ctx context.Context, n int) error {
			body, err := json.Marshal(map[string]string{"number": strconv.Itoa(n)})
			if err != nil {
				return err
			}
			r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://echo"+echoapi.EchoServiceEchoProcedure, strings.NewReader(string(body)))
			if err != nil {
				return err
			}
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Idempotency-Key", strconv.Itoa(n))
			res, err := rt.Do(r)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			if io.Copy(io.Discard, res.Body); res.StatusCode != http.StatusOK { // the status counts
				return errors.New(res.Status)
			}
			return nil
		}
	}
	for _, tt := range []struct {
		name            string
		h2, plain, fast bool
		idempotent      bool
	}{
		{name: "Connect over HTTP/1.1"},
		{name: "Connect over HTTP/2", h2: true},
		{name: "POST over HTTP/1.1", plain: true},
		{name: "the fast wire", fast: true},
		{name: "idempotent, Connect over HTTP/1.1", idempotent: true},
		{name: "idempotent, the fast wire", fast: true, idempotent: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			calls := calls
			if tt.idempotent {
				calls /= 10
			}
			s := &tally{executed: make([]atomic.Int32, calls)}
			var addrs []string
			instances := at
			if tt.fast {
				instances = announcing
			}
			for range 3 {
				if tt.fast {
					addrs = append(addrs, ordinaryOn(t, s, brittle))
				} else {
					addrs = append(addrs, h2c(t, faulty(echoHandler(s)), keepConn))
				}
			}
			o := &rpi.RemoteOptions{Breaker: metricsOnly(t), Conns: rpi.ConnOptions{HTTP2: tt.h2, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				if rand.IntN(20) == 0 {
					return nil, &net.OpError{Op: "dial", Net: network, Err: errNoDial}
				}
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			}}}
			var call func(context.Context, int) error
			if tt.plain {
				client, _ := plainClient(t, at(addrs...), o)
				call = plain(client)
			} else {
				client, _ := remote(t, instances(addrs...), o)
				method := client.Echo
				if tt.idempotent {
					method = client.Store
				}
				call = func(ctx context.Context, n int) error {
					_, err := method(ctx, &echoapi.EchoRequest{Number: int64(n)})
					return err
				}
			}
			answered := make([]bool, calls)
			var failed atomic.Int64
			inParallel(16, calls, func(n int) {
				if err := call(t.Context(), n); err != nil {
					failed.Add(1)
					if code := connect.CodeOf(err); !tt.plain && code != connect.CodeUnavailable {
						t.Errorf("call %d: %v, want unavailable or an answer", n, err)
					}
					return
				}
				answered[n] = true
			})
			twice, none := 0, 0
			for n := range calls {
				e := s.executed[n].Load()
				if e > 1 {
					twice++
				}
				if answered[n] && e == 0 {
					none++
				}
			}
			t.Logf("%d calls: %d failed, %d were executed twice", calls, failed.Load(), twice)
			if none > 0 || !tt.idempotent && twice > 0 || tt.idempotent && twice == 0 {
				t.Errorf("%d calls were executed more than once, %d answered but not executed", twice, none)
			}
			if failed.Load() == 0 && !tt.idempotent {
				t.Error("no call failed: the faults are none")
			}
		})
	}
}

// inParallel calls f with 0 to n-1.
func inParallel(callers, n int, f func(int)) {
	var next atomic.Int64
	var running sync.WaitGroup
	for range callers {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	running.Wait()
}
