package service_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/internal/tlstest"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
	"github.com/cleave-go/cleave/service"
)

// setting is what clients of the fast wire begin with, and servers answer with.
const setting = 0xfc1e

// speaksFast reports whether the first word of whoever listens at addr, to one
// who opens a connection of the fast wire, is that of the fast wire. http says
// that it is HTTP/2 at all.
func speaksFast(t *testing.T, addr string) (fast, http2 bool) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x06\x04\x00\x00\x00\x00\x00\xfc\x1e\x00\x00\x00\x01"); err != nil {
		t.Fatal(err)
	}
	var head [9]byte
	if _, err := io.ReadFull(conn, head[:]); err != nil || head[3] != 4 {
		return false, false
	}
	all := make([]byte, int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(conn, all); err != nil {
		t.Fatal(err)
	}
	for ; len(all) > 0; all = all[6:] {
		fast = fast || binary.BigEndian.Uint16(all) == setting
	}
	return fast, true
}

func TestWhoTakesTheFastWireOnTheOrdinaryPort(t *testing.T) {
	t.Parallel()
	ca := tlstest.NewCA(t)
	gateway := func(ctx context.Context, h *service.Host) error {
		h.Edge("")
		return newEcho(ctx, h)
	}
	for name, c := range map[string]struct {
		environ     []string
		service     service.Service
		fast, http2 bool
	}{
		"a service":                 {nil, newEcho, true, true},
		"where it is asked for":     {[]string{"CLEAVE_WIRE=grpc"}, newEcho, true, true},
		"where it is switched off":  {[]string{"CLEAVE_WIRE=connect"}, newEcho, false, true},
		"an edge, where anyone is":  {nil, gateway, false, true},
		"where TLS is spoken":       {files(t, ca, tlstest.Cert{DNS: []string{"a"}}), newEcho, false, false},
		"an edge where TLS is used": {files(t, ca, tlstest.Cert{DNS: []string{"a"}}), gateway, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, c.environ, service.Named{Name: "a", New: c.service})
			defer r.stop(t)
			if fast, http2 := speaksFast(t, r.Services["a"]); fast != c.fast || http2 != c.http2 {
				t.Errorf("fast wire %v, HTTP/2 %v, want %v, %v", fast, http2, c.fast, c.http2)
			}
		})
	}
	if err := runs(t, []string{"CLEAVE_WIRE=pigeon"}, hello); err == nil || !strings.Contains(err.Error(), "CLEAVE_WIRE") {
		t.Errorf("a wire that there is not: %v", err)
	}
}

// fastClient calls addr over the fast wire, as if its name were host.
func fastClient(t *testing.T, host, addr string) echoapi.EchoServiceClient {
	t.Helper()
	wire := grpcwire.NewTransport(host, &grpcwire.TransportOptions{Dial: func(context.Context, string) (net.Conn, error) { return net.Dial("tcp", addr) }})
	t.Cleanup(func() { wire.Close() })
	return echoapi.NewEchoServiceClient(connect.NewClient(wire))
}

func TestLoopbackListenersRefuseForeignNamesOverTheFastWire(t *testing.T) {
	t.Parallel()
	r := start(t, nil, service.Named{Name: "a", New: newEcho})
	defer r.stop(t)
	for host, want := range map[string]bool{"evil.example": false, "127.0.0.1.evil.example": false, "localhost:80": true, "a.svc.cleave": true, "127.0.0.1:9": true} {
		_, err := fastClient(t, host, r.Services["a"]).Echo(t.Context(), &echoapi.EchoRequest{})
		if want && err != nil || !want && connect.CodeOf(err) != connect.CodePermissionDenied {
			t.Errorf("for %s: %v, want it to be served: %v", host, err, want)
		}
	}
}

func TestServicesOfOneListenerAreAllCalledOverTheFastWire(t *testing.T) {
	t.Parallel()
	r := start(t, nil, service.Named{Name: "a", New: empty}, service.Named{Name: "b", New: newEcho})
	defer r.stop(t)
	addr := r.Services["a"]
	if res, err := fastClient(t, addr, addr).Echo(t.Context(), &echoapi.EchoRequest{Text: "x"}); err != nil || res.Text != "x" {
		t.Errorf("got %v, %v", res, err)
	}
	other := start(t, nil, service.Named{Name: "a", New: empty})
	defer other.stop(t)
	addr = other.Services["a"]
	if _, err := fastClient(t, addr, addr).Echo(t.Context(), &echoapi.EchoRequest{}); connect.CodeOf(err) != connect.CodeUnimplemented {
		t.Errorf("a method that nobody has: %v, want unimplemented", err)
	}
}

func TestAServiceTakesNoMoreCallsThanItIsToldOverTheFastWire(t *testing.T) {
	t.Parallel()
	handler := waits{entered: make(chan struct{}), release: make(chan struct{})}
	r := start(t, []string{"CLEAVE_MAX_CALLS=1"}, service.Named{Name: "a", New: func(_ context.Context, h *service.Host) error {
		echoapi.RegisterEchoServiceHandler(h.Server(), handler)
		return nil
	}})
	defer r.stop(t)
	client := fastClient(t, "localhost", r.Services["a"])
	first := make(chan error, 1)
	go func() { _, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); first <- err }()
	<-handler.entered
	if _, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("a second call beside the only one: %v", err)
	}
	close(handler.release)
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestAStopWaitsForCallsOverTheFastWire(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		grace time.Duration
		stuck bool
	}{"that end": {10 * time.Second, false}, "no longer than it may": {1200 * time.Millisecond, true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler := waits{entered: make(chan struct{}), release: make(chan struct{})}
			r := startWith(t, service.Options{Environ: []string{}, Linger: 100 * time.Millisecond, Grace: c.grace}, service.Named{Name: "a", New: func(_ context.Context, h *service.Host) error {
				echoapi.RegisterEchoServiceHandler(h.Server(), handler)
				return nil
			}})
			client := fastClient(t, "localhost", r.Services["a"])
			idle := fastClient(t, "localhost", r.Services["a"])
			if _, err := idle.Look(t.Context(), &echoapi.EchoRequest{}); connect.CodeOf(err) != connect.CodeUnimplemented {
				t.Fatal(err)
			}
			first := make(chan error, 1)
			go func() { _, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); first <- err }()
			<-handler.entered
			begin := time.Now()
			r.cancel()
			for { // a call that comes too late is known not to have been begun
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				_, err := idle.Look(ctx, &echoapi.EchoRequest{})
				cancel()
				if errors.Is(err, grpcwire.ErrUnprocessed) {
					break
				}
				if connect.CodeOf(err) != connect.CodeUnimplemented {
					t.Fatalf("a late call: %v", err)
				}
			}
			if !c.stuck {
				close(handler.release)
			}
			if err := <-first; (err != nil) != c.stuck {
				t.Errorf("the call under way: %v", err)
			}
			if c.stuck {
				close(handler.release)
			}
			if err := r.wait(t); (err != nil) != c.stuck || err != nil && !strings.Contains(err.Error(), "calls under way did not end") {
				t.Errorf("stopped with %v", err)
			}
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("the stop took %v", took)
			}
		})
	}
}

// All the kinds of clients on one port, and files still in one piece.
func TestHTTPGoesOnBesideTheFastWire(t *testing.T) {
	t.Parallel()
	r := start(t, nil, service.Named{Name: "a", New: func(ctx context.Context, h *service.Host) error {
		h.Handle("/file", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "wire_test.go") }))
		return newEcho(ctx, h)
	}})
	defer r.stop(t)
	if _, err := fastClient(t, "localhost", r.Services["a"]).Echo(t.Context(), &echoapi.EchoRequest{}); err != nil {
		t.Error(err)
	}
	if status, body := request(t, "GET", "http://"+r.Services["a"]+"/file"); status != 200 || !strings.HasSuffix(body, "}\n") {
		t.Errorf("status %d, %d bytes", status, len(body))
	}
	if status, _ := request(t, "GET", "http://"+r.Services["a"]+"/file", "Host", "evil.example"); status != http.StatusForbidden {
		t.Errorf("status %d for a foreign host", status)
	}
}

// rank is an echo service that says how much it matters that it is called.
type rank struct {
	echoapi.UnimplementedEchoServiceHandler
}

func (rank) Echo(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return &echoapi.EchoResponse{Text: rpi.CriticalityOf(ctx).String()}, nil
}

func TestStrangersCannotSayHowMuchTheirCallsMatter(t *testing.T) {
	t.Parallel()
	for edge, want := range map[bool]string{true: "default", false: "critical"} {
		r := start(t, nil, service.Named{Name: "a", New: func(_ context.Context, h *service.Host) error {
			if edge {
				h.Edge("")
			}
			echoapi.RegisterEchoServiceHandler(h.Server(), rank{})
			return nil
		}})
		defer r.stop(t)
		for _, wire := range [][]connecthttp.Option{{}, {connecthttp.WithGRPCWeb()}} {
			client := echoapi.NewEchoServiceClient(connect.NewClient(connecthttp.NewTransport(http.DefaultClient, "http://"+r.Services["a"], wire...)))
			ctx, info := connect.NewClientContext(t.Context())
			info.RequestHeader().Set(rpi.CriticalityHeader, "critical")
			if res, err := client.Echo(ctx, &echoapi.EchoRequest{}); err != nil || res.Text != want {
				t.Errorf("at an edge %v: %v, %v, want %s", edge, res, err, want)
			}
		}
	}
}
