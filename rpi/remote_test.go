package rpi_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/breaker"
	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/discovery/discoverytest"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

var quiet = slog.New(slog.DiscardHandler)

// answering is an echo service that counts what it was asked.
type answering struct {
	echoapi.UnimplementedEchoServiceHandler
	name  string
	calls atomic.Int64
}

func (a *answering) Echo(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	a.calls.Add(1)
	return &echoapi.EchoResponse{Text: a.name}, nil
}

func (a *answering) Look(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return a.Echo(ctx, r)
}

func serve(t *testing.T, h echoapi.EchoServiceHandler) *httptest.Server {
	t.Helper()
	s := rpi.NewServer(&rpi.ServerOptions{Logger: quiet})
	echoapi.RegisterEchoServiceHandler(s, h)
	server := httptest.NewServer(rpi.Handler(s))
	t.Cleanup(server.Close)
	return server
}

func at(addrs ...string) *discoverytest.Resolver {
	r := &discoverytest.Resolver{}
	set(r, addrs...)
	return r
}

func set(r *discoverytest.Resolver, addrs ...string) {
	var all []discovery.Instance
	for _, a := range addrs {
		all = append(all, discovery.Instance{Service: "echo", ID: "at-" + a, Addr: a})
	}
	r.Set("echo", all...)
}

func remote(t *testing.T, r discovery.Resolver, o *rpi.RemoteOptions) (echoapi.EchoServiceClient, *rpi.RemoteTransport) {
	t.Helper()
	if o == nil {
		o = &rpi.RemoteOptions{}
	}
	o.Logger = quiet
	transport := rpi.Remote("echo", r, o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- transport.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return echoapi.NewEchoServiceClient(connect.NewClient(transport)), transport
}

// deadAddr is an address that refuses connections.
func deadAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// closer accepts requests, reads each to its end and closes the connection
// without an answer; the first of each connection it answers if it is told to.
type closer struct {
	addr string
	read atomic.Int64 // requests read
}

func newCloser(t *testing.T, answerFirst bool) *closer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := &closer{addr: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.serve(conn, answerFirst)
		}
	}()
	return c
}

func (c *closer) serve(conn net.Conn, answerFirst bool) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for n := 0; ; n++ {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		io.Copy(io.Discard, req.Body) // the test counts
		c.read.Add(1)
		if n > 0 || !answerFirst {
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\nContent-Length: 0\r\n\r\n")
	}
}

func TestACallThatAServerMayHaveSeenIsNotRepeated(t *testing.T) {
	t.Parallel()
	c := newCloser(t, true)
	client, _ := remote(t, at(c.addr), nil)
	if _, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); err != nil {
		t.Fatal(err)
	}
	_, err := client.Echo(t.Context(), &echoapi.EchoRequest{Text: "on the reused connection"})
	if connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("got %v, want unavailable", err)
	}
	if n := c.read.Load(); n != 2 {
		t.Errorf("the server read %d requests for 2 calls", n)
	}
}

func TestACallWithoutSideEffectsIsTriedElsewhere(t *testing.T) {
	t.Parallel()
	bad, good := newCloser(t, false), &answering{name: "good"}
	client, _ := remote(t, at(bad.addr, serve(t, good).Listener.Addr().String()), nil)
	for range 20 {
		if _, err := client.Look(t.Context(), &echoapi.EchoRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	if bad.read.Load() == 0 || good.calls.Load() != 20 {
		t.Errorf("bad read %d, good answered %d of 20", bad.read.Load(), good.calls.Load())
	}
}

func TestACallThatNobodyHasSeenIsTriedElsewhere(t *testing.T) {
	t.Parallel()
	good := &answering{name: "good"}
	client, _ := remote(t, at(deadAddr(t), serve(t, good).Listener.Addr().String()), nil)
	for range 20 {
		if _, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); err != nil {
			t.Fatal(err)
		}
	}
	if n := good.calls.Load(); n != 20 {
		t.Errorf("executed %d times for 20 calls", n)
	}
}

func TestTheBreakerOpensForADeadServiceAndClosesByItself(t *testing.T) {
	t.Parallel()
	where := at(deadAddr(t))
	client, transport := remote(t, where, nil)
	var err error
	for range 5 {
		_, err = client.Look(t.Context(), &echoapi.EchoRequest{})
		if connect.CodeOf(err) != connect.CodeUnavailable {
			t.Fatalf("got %v, want unavailable", err)
		}
	}
	begin := time.Now()
	_, err = client.Look(t.Context(), &echoapi.EchoRequest{})
	if !errors.Is(err, breaker.ErrOpen) || rpi.ReasonOf(err) != rpi.ReasonBreakerOpen {
		t.Fatalf("got %v (reason %q), want the breaker to be open", err, rpi.ReasonOf(err))
	}
	if took := time.Since(begin); took > 20*time.Millisecond {
		t.Errorf("refused after %v, want at once", took)
	}
	set(where, serve(t, &answering{name: "back"}).Listener.Addr().String())
	deadline := time.Now().Add(10 * time.Second)
	for transport.Breaker().State() != breaker.Closed {
		if time.Now().After(deadline) {
			t.Fatalf("the breaker is %s 10 s after the service came back", transport.Breaker().State())
		}
		client.Look(t.Context(), &echoapi.EchoRequest{}) // a probe
		time.Sleep(10 * time.Millisecond)                // real time: real connections
	}
	if _, err := client.Look(t.Context(), &echoapi.EchoRequest{}); err != nil {
		t.Error(err)
	}
}

func TestAnErrorOfTheHandlerDoesNotOpenTheBreaker(t *testing.T) {
	t.Parallel()
	client, transport := remote(t, at(serve(t, &impl{echo: fails(errors.New("bug"))}).Listener.Addr().String()), nil)
	for range 50 {
		if _, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); connect.CodeOf(err) != connect.CodeUnknown {
			t.Fatalf("got %v, want unknown", err)
		}
	}
	if s := transport.Breaker().State(); s != breaker.Closed {
		t.Errorf("the breaker is %s", s)
	}
}

func TestWithoutAnyInstanceACallFailsAtOnceAndSaysSo(t *testing.T) {
	t.Parallel()
	client, _ := remote(t, at(), nil)
	_, err := client.Echo(t.Context(), &echoapi.EchoRequest{})
	if connect.CodeOf(err) != connect.CodeUnavailable || !errors.Is(err, discovery.ErrNoInstance) {
		t.Errorf("got %v, want no live instance", err)
	}
}

func TestACallBeforeTheFirstSnapshotWaitsForItsDeadlineOnly(t *testing.T) {
	t.Parallel()
	client := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Remote("echo", at(), nil)))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := client.Echo(ctx, &echoapi.EchoRequest{}); connect.CodeOf(err) != connect.CodeDeadlineExceeded {
		t.Errorf("got %v, want deadline_exceeded", err)
	}
}

func TestRetriesAreBoundedByTheBudget(t *testing.T) {
	t.Parallel()
	c := newCloser(t, false)
	disabled, err := breaker.New("echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	disabled.SetMode(breaker.Disabled)
	client, _ := remote(t, at(c.addr), &rpi.RemoteOptions{Breaker: disabled})
	const calls = 300
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	begin := time.Now()
	for range calls {
		client.Look(ctx, &echoapi.EchoRequest{}) // all fail
	}
	granted := 0.2*calls + 10*(10+time.Since(begin).Seconds())
	if n := c.read.Load(); float64(n) > calls+granted {
		t.Errorf("%d requests for %d calls, want at most %.0f", n, calls, calls+granted)
	}
}

func TestStreamsPassOnEitherBinding(t *testing.T) {
	t.Parallel()
	server := rpi.NewServer(&rpi.ServerOptions{Logger: quiet})
	echoapi.RegisterEchoServiceHandler(server, streaming{})
	over := httptest.NewServer(rpi.Handler(server))
	t.Cleanup(over.Close)
	far, _ := remote(t, at(over.Listener.Addr().String()), nil)
	for name, client := range map[string]echoapi.EchoServiceClient{
		"local": echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(server, nil))), "remote": far,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testStreams(t, client)
		})
	}
}

func TestAStreamPassesOverInstancesThatCannotBeReached(t *testing.T) {
	t.Parallel()
	addr := h2c(t, echoHandler(streaming{}), nil)
	for _, h2 := range []bool{false, true} {
		client, _ := remote(t, at(deadAddr(t), deadAddr(t), addr), &rpi.RemoteOptions{Conns: rpi.ConnOptions{HTTP2: h2}})
		for range 10 {
			up, err := client.CountUp(t.Context(), &echoapi.EchoRequest{Number: 1})
			if err != nil {
				t.Fatal(err)
			}
			if m, err := up.Receive(); err != nil || m.Number != 1 {
				t.Fatalf("got %v, %v", m, err)
			}
			up.Close() // it has served its purpose
		}
	}
	nowhere, _ := remote(t, at(deadAddr(t)), nil)
	if _, err := nowhere.CountUp(t.Context(), &echoapi.EchoRequest{}); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("got %v, want unavailable", err)
	}
}

func testStreams(t *testing.T, client echoapi.EchoServiceClient) {
	up, err := client.CountUp(t.Context(), &echoapi.EchoRequest{Number: 5})
	if err != nil {
		t.Fatal(err)
	}
	var got []int64
	for {
		m, err := up.Receive()
		if err != nil {
			if connect.CodeOf(err) != connect.CodeOutOfRange {
				t.Errorf("ended with %v, want out_of_range", err)
			}
			break
		}
		got = append(got, m.Number)
	}
	if len(got) != 5 || got[4] != 5 {
		t.Errorf("counted %v", got)
	}
	sum, err := client.Sum(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n := range int64(4) {
		if err := sum.Send(&echoapi.EchoRequest{Number: n}); err != nil {
			t.Fatal(err)
		}
	}
	if res, err := sum.CloseAndReceive(); err != nil || res.Number != 6 {
		t.Errorf("Sum: %v, %v", res, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	endless, err := client.CountUp(ctx, &echoapi.EchoRequest{Number: 1 << 40})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := endless.Receive(); err != nil {
		t.Fatal(err)
	}
	cancel()
	for err == nil {
		_, err = endless.Receive()
	}
	if connect.CodeOf(err) != connect.CodeCanceled {
		t.Errorf("a canceled stream ended with %v", err)
	}
}

type streaming struct {
	echoapi.UnimplementedEchoServiceHandler
}

func (streaming) CountUp(ctx context.Context, r *echoapi.EchoRequest, s echoapi.EchoServiceCountUpServerStream) error {
	for n := int64(1); n <= r.Number; n++ {
		if err := s.Send(&echoapi.EchoResponse{Number: n}); err != nil {
			return err
		}
	}
	return connect.NewError(connect.CodeOutOfRange, "that was all")
}

func (streaming) Sum(_ context.Context, s echoapi.EchoServiceSumServerStream) (*echoapi.EchoResponse, error) {
	var sum int64
	for {
		m, err := s.Receive()
		if errors.Is(err, io.EOF) {
			return &echoapi.EchoResponse{Number: sum}, nil
		}
		if err != nil {
			return nil, err
		}
		sum += m.Number
	}
}

func TestAConnectionThatIsResetIsUnavailable(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.(*net.TCPConn).SetLinger(0) // makes Close send a reset
			conn.Read(make([]byte, 1))       // leaves the rest unread
			conn.Close()
		}
	}()
	client, _ := remote(t, at(l.Addr().String()), nil)
	if _, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); connect.CodeOf(err) != connect.CodeUnavailable {
		t.Errorf("got %v, want unavailable", err)
	}
}
