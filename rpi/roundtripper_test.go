package rpi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/breaker"
	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

func plainClient(t *testing.T, r discovery.Resolver, o *rpi.RemoteOptions) (*http.Client, *rpi.RoundTripper) {
	t.Helper()
	if o == nil {
		o = &rpi.RemoteOptions{}
	}
	o.Logger = quiet
	rt := rpi.NewRoundTripper("echo", r, o)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { rt.Run(ctx) }) // ends with ctx
	t.Cleanup(func() { cancel(); running.Wait() })
	return &http.Client{Transport: rt}, rt
}

// plainScript serves the nth request as the script says.
func plainScript(t *testing.T, executed *atomic.Int64, script func(w http.ResponseWriter, r *http.Request, n int64)) string {
	return h2c(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // the test counts
		script(w, r, executed.Add(1))
	}), keepConn)
}

func status(first int, header ...string) func(http.ResponseWriter, *http.Request, int64) {
	return func(w http.ResponseWriter, _ *http.Request, n int64) {
		if n > 1 {
			io.WriteString(w, "second") // seen by the client
			return
		}
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(first)
		io.WriteString(w, "first") // seen by the client
	}
}

func reset(w http.ResponseWriter, r *http.Request, n int64) {
	if n == 1 {
		r.Context().Value(netConnKey{}).(net.Conn).Close()
		return
	}
	io.WriteString(w, "second") // seen by the client
}

func TestWhatOfPlainHTTPIsSentAgain(t *testing.T) {
	t.Parallel()
	var stream io.Reader = io.MultiReader(strings.NewReader("once")) // that http.NewRequest cannot rewind
	for _, tt := range []struct {
		name, method string
		body         io.Reader
		header       string
		script       func(http.ResponseWriter, *http.Request, int64)
		executions   int64
		status       int // 0: an error
	}{
		{"GET, 503", "GET", nil, "", status(503), 2, 200},
		{"HEAD, 502", "HEAD", nil, "", status(502), 2, 200},
		{"OPTIONS, 504", "OPTIONS", nil, "", status(504), 2, 200},
		{"PUT, 503", "PUT", strings.NewReader("x"), "", status(503), 2, 200},
		{"DELETE, lost", "DELETE", nil, "", reset, 2, 200},
		{"GET, lost", "GET", nil, "", reset, 2, 200},
		{"PUT, lost", "PUT", strings.NewReader("x"), "", reset, 2, 200},
		{"PUT of a stream, 503: no", "PUT", stream, "", status(503), 1, 503},
		{"POST, 503: no", "POST", strings.NewReader("x"), "", status(503), 1, 503},
		{"POST, lost: no", "POST", strings.NewReader("x"), "", reset, 1, 0},
		{"POST with Idempotency-Key, lost: no", "POST", strings.NewReader("x"), "Idempotency-Key", reset, 1, 0},
		{"PATCH, lost: no", "PATCH", strings.NewReader("x"), "", reset, 1, 0},
		{"GET, 429 with Retry-After", "GET", nil, "", status(429, "Retry-After", "0"), 2, 200},
		{"GET, 429: no", "GET", nil, "", status(429), 1, 429},
		{"GET, 500: no", "GET", nil, "", status(500), 1, 500},
		{"GET, pushed back: no", "GET", nil, "", status(503, "Grpc-Retry-Pushback-Ms", "-1"), 1, 503},
		{"GET, Retry-After beyond the time: no", "GET", nil, "", status(503, "Retry-After", "60"), 1, 503},
	} {
		for _, h2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, HTTP/2 %v", tt.name, h2), func(t *testing.T) {
				if tt.body != stream {
					t.Parallel()
				}
				body := tt.body
				if s, ok := body.(*strings.Reader); ok {
					body = strings.NewReader(strconv.Itoa(s.Len()))
				}
				var executed atomic.Int64
				client, _ := plainClient(t, at(plainScript(t, &executed, tt.script)), &rpi.RemoteOptions{Conns: rpi.ConnOptions{HTTP2: h2}})
				r, err := http.NewRequestWithContext(t.Context(), tt.method, "http://echo/x", body)
				if err != nil {
					t.Fatal(err)
				}
				if tt.header != "" {
					r.Header.Set(tt.header, "1")
				}
				res, err := client.Do(r)
				if n := executed.Load(); n != tt.executions {
					t.Errorf("executed %d times, want %d", n, tt.executions)
				}
				if tt.status == 0 {
					if connect.CodeOf(errors.Unwrap(err)) != connect.CodeUnavailable {
						t.Errorf("got %v, want unavailable", err)
					}
					return
				}
				if err != nil || res.StatusCode != tt.status {
					t.Fatalf("got %v, %v, want %d", res, err, tt.status)
				}
				got, err := io.ReadAll(res.Body)
				res.Body.Close()
				want := map[int64]string{1: "first", 2: "second"}[tt.executions]
				if tt.method != "HEAD" && (err != nil || string(got) != want) {
					t.Errorf("read %q, %v, want %q", got, err, want)
				}
			})
		}
	}
}

func TestAPlainRequestThatNobodyHasSeenIsSentElsewhere(t *testing.T) {
	t.Parallel()
	var executed atomic.Int64
	good := plainScript(t, &executed, status(200))
	client, _ := plainClient(t, at(deadAddr(t), good), &rpi.RemoteOptions{Attempts: 1})
	for range 20 {
		res, err := client.Post("http://echo/x", "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
	}
	if n := executed.Load(); n != 20 {
		t.Errorf("executed %d times for 20 requests", n)
	}
}

func TestWhatTravelsWithAPlainRequest(t *testing.T) {
	t.Parallel()
	var got http.Header
	var host string
	var executed atomic.Int64
	where := plainScript(t, &executed, func(w http.ResponseWriter, r *http.Request, _ int64) { got, host = r.Header, r.Host })
	client, _ := plainClient(t, at(where), nil)
	ctx := auth.With(t.Context(), auth.Principal{Subject: "ada"}, "raw-token")
	ctx = event.WithMeta(ctx, event.Meta{Correlation: "c-1"})
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://echo/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got.Get("Authorization") != "Bearer raw-token" || got.Get(rpi.CorrelationHeader) != "c-1" || host != where {
		t.Errorf("arrived at %q with %v", host, got)
	}
	if ms, err := strconv.Atoi(got.Get("Connect-Timeout-Ms")); err != nil || ms > 3000 || ms < 1000 {
		t.Errorf("arrived with %q ms left of 3 s", got.Get("Connect-Timeout-Ms"))
	}
	if len(r.Header) != 0 {
		t.Errorf("the caller's request has got the headers %v", r.Header)
	}
}

func TestTheRemainingTimeReachesAProcedureCalledByPlainPOST(t *testing.T) {
	t.Parallel()
	s := &scripted{script: func(context.Context, int) error { return nil }}
	client, _ := plainClient(t, at(h2c(t, echoHandler(s), nil)), &rpi.RemoteOptions{Call: rpi.CallOptions{Timeout: 2 * time.Second}})
	res, err := client.Post("http://echo"+echoapi.EchoServiceEchoProcedure, "application/json", strings.NewReader(`{"text":"x"}`))
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("got %v, %v", res, err)
	}
	res.Body.Close()
	if left := s.executions()[0].remaining; left > 2*time.Second || left < time.Second {
		t.Errorf("the procedure had %v of 2 s", left)
	}
}

func TestABodyMayTakeLongerThanItsBeginning(t *testing.T) {
	t.Parallel()
	leave := make(chan struct{})
	var executed atomic.Int64
	where := plainScript(t, &executed, func(w http.ResponseWriter, r *http.Request, n int64) {
		if r.URL.Path == "/late" {
			<-r.Context().Done()
			return
		}
		io.WriteString(w, "begin ")           // seen by the client
		http.NewResponseController(w).Flush() // as above
		<-leave
		io.WriteString(w, "end") // as above
	})
	client, rt := plainClient(t, at(where), &rpi.RemoteOptions{Call: rpi.CallOptions{Timeout: 50 * time.Millisecond}})
	res, err := client.Get("http://echo/x")
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Post("http://echo/late", "text/plain", nil)
	if connect.CodeOf(errors.Unwrap(err)) != connect.CodeDeadlineExceeded {
		t.Errorf("an answer that does not begin in time is %v, want deadline_exceeded", err)
	}
	if n := rt.Remote().Balancer().States()[0].InFlight; n != 1 {
		t.Errorf("%d requests are in flight, want that whose body is being read", n)
	}
	close(leave)
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != "begin end" {
		t.Errorf("read %q, %v", got, err)
	}
	res.Body.Close()
	if n := rt.Remote().Balancer().States()[0].InFlight; n != 0 {
		t.Errorf("%d requests are in flight, want none", n)
	}
}

func TestTheBreakerOpensForAPlainServiceThatIsDown(t *testing.T) {
	t.Parallel()
	var executed atomic.Int64
	where := plainScript(t, &executed, func(w http.ResponseWriter, _ *http.Request, _ int64) { w.WriteHeader(503) })
	client, rt := plainClient(t, at(where), &rpi.RemoteOptions{Attempts: 1})
	for range 5 {
		res, err := client.Get("http://echo/x")
		if err != nil || res.StatusCode != 503 {
			t.Fatalf("got %v, %v", res, err)
		}
		res.Body.Close()
	}
	if _, err := client.Get("http://echo/x"); !errors.Is(err, breaker.ErrOpen) || rt.Remote().Breaker().State() != breaker.Open {
		t.Errorf("got %v, want the breaker to be open", err)
	}
}
