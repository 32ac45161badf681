package grpcwire_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

const (
	preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	kin     = "\xfc\x1e\x00\x00\x00\x01"
	noPush  = "\x00\x02\x00\x00\x00\x00"
)

func settingsOf(all string) string { return string(frame(settings, 0, 0, []byte(all))) }

// openings are what connections begin with, and whether the server takes those.
var openings = map[string]struct {
	sent  string
	taken bool
}{
	"a transport":                              {preface + settingsOf(kin), true},
	"a transport with more settings":           {preface + settingsOf(kin+noPush), true},
	"a transport of another version":           {preface + settingsOf("\xfc\x1e\x00\x00\x00\x02"), true},
	"an HTTP/1.1 client":                       {"POST /x HTTP/1.1\r\nHost: x\r\n\r\n", false},
	"an HTTP/2 client":                         {preface + settingsOf(noPush), false},
	"an HTTP/2 client without settings":        {preface + settingsOf(""), false},
	"an HTTP/2 client that has ours second":    {preface + settingsOf(noPush+kin), false},
	"an acknowledgement":                       {preface + string(frame(settings, ack, 0, []byte(kin))), false},
	"settings that are too short":              {preface + settingsOf("short"), false},
	"a first frame of 16 MiB":                  {preface + "\xff\xff\xff\x04\x00\x00\x00\x00\x00" + kin, false},
	"settings of a stream":                     {preface + string(frame(settings, 0, 1, []byte(kin))), false},
	"a first frame of another kind":            {preface + string(frame(headers, endHeaders, 1, []byte(kin+noPush))), false},
	"something that begins like HTTP/2":        {"PRI HTTP/1.1\r\nHost: x\r\n\r\n", false},
	"the preface up to its last byte":          {preface[:len(preface)-1] + "x" + settingsOf(kin), false},
	"nothing":                                  {"", false},
	"one byte":                                 {"P", false},
	"a preface that breaks off":                {preface[:10], false},
	"a preface and nothing more":               {preface, false},
	"settings that break off":                  {preface + settingsOf(kin)[:12], false},
	"TLS":                                      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", false},
	"a transport, only later":                  {"X" + preface + settingsOf(kin), false},
	"HTTP/1.1 with a body that is a preface":   {"POST / HTTP/1.1\r\nContent-Length: 99\r\n\r\n" + preface + settingsOf(kin), false},
	"a transport that sends its calls at once": {preface + settingsOf(kin) + strings.Repeat("x", 100), true},
}

// handedOn returns what the reader beside the server gets of a connection that
// begins with sent, in pieces of so many bytes, and whether the server has taken it.
func handedOn(t *testing.T, sent string, pieces int) (got string, taken bool) {
	synctest.Test(t, func(t *testing.T) {
		server := grpcwire.NewServer(connect.NewServer(), &grpcwire.ServerOptions{Logger: quiet})
		ln := newPipes()
		read := make(chan string, 1)
		go func() {
			nc, err := server.Beside(ln).Accept()
			if err != nil {
				t.Error(err)
			}
			b, err := io.ReadAll(nc)
			if err != nil {
				t.Errorf("reading: %v", err)
			}
			nc.Close()
			read <- string(b)
		}()
		nc := ln.dial()
		var answered atomic.Bool
		go func() {
			n, _ := nc.Read(make([]byte, 1))
			answered.Store(n > 0)
			_, _ = io.Copy(io.Discard, nc) // until it ends
		}()
		for rest := sent; rest != ""; {
			n := min(pieces, len(rest))
			if _, err := io.WriteString(nc, rest[:n]); err != nil {
				break // a server may have ended what it has taken
			}
			rest = rest[n:]
		}
		synctest.Wait()
		taken = answered.Load()
		nc.Close()
		got = <-read
		if err := server.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return got, taken
}

func TestConnectionsOfTransportsAreTakenAndOthersHandedOnWhole(t *testing.T) {
	for name, c := range openings {
		t.Run(name, func(t *testing.T) {
			for _, pieces := range []int{1, 7, 24, 33, 1 << 10} {
				want := c.sent
				if c.taken {
					want = ""
				}
				got, taken := handedOn(t, c.sent, pieces)
				if taken != c.taken || got != want {
					t.Errorf("in pieces of %d: taken %v, %q handed on, want %v, %q", pieces, taken, got, c.taken, want)
				}
			}
		})
	}
}

// However a connection begins, all or nothing of it is handed on.
func FuzzBeside(f *testing.F) {
	for _, c := range openings {
		f.Add(c.sent, uint8(len(c.sent)))
	}
	f.Fuzz(func(t *testing.T, sent string, pieces uint8) {
		got, taken := handedOn(t, sent, max(int(pieces), 1))
		if got != sent && got != "" {
			t.Errorf("of %q %q was handed on", sent, got)
		}
		if got == "" && sent != "" && (!strings.HasPrefix(sent, preface) || !strings.Contains(sent, "\x04\x00\x00\x00\x00\x00\xfc\x1e")) {
			t.Errorf("%q was kept", sent)
		}
		if taken && got != "" {
			t.Errorf("%q was handed on of a connection that was taken", got)
		}
	})
}

// A client that dawdles over its first bytes has the time of the http.Server
// that reads them, and no more.
func TestWhoDawdlesOverTheFirstBytesIsLetGo(t *testing.T) {
	for _, sent := range []string{"", "P", preface[:20], preface, preface + settingsOf(kin)[:14], "POST / HTTP/1.1\r\n"} {
		synctest.Test(t, func(t *testing.T) {
			server := grpcwire.NewServer(connect.NewServer(), &grpcwire.ServerOptions{Logger: quiet})
			ln := newPipes()
			beside := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.NotFoundHandler(), ErrorLog: log.New(io.Discard, "", 0), Protocols: &http.Protocols{}}
			beside.Protocols.SetHTTP1(true)
			beside.Protocols.SetUnencryptedHTTP2(true)
			ended := make(chan error, 1)
			go func() { ended <- beside.Serve(server.Beside(ln)) }()
			nc := ln.dial()
			if _, err := io.WriteString(nc, sent); err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			_, _ = io.Copy(io.Discard, nc) // until it ends
			if took := time.Since(begin); took > 21*time.Second {
				t.Errorf("%q held a connection for %v", sent, took)
			}
			nc.Close()
			beside.Close()
			<-ended
		})
	}
}

// besides serves calls by both an http.Server and a Server on one port.
func besides(t *testing.T, s *service) (addr string, server *grpcwire.Server) {
	t.Helper()
	calls := connect.NewServer()
	echoapi.RegisterEchoServiceHandler(calls, s)
	server = grpcwire.NewServer(calls, &grpcwire.ServerOptions{Logger: quiet, Authority: func(host string) bool { return host != "elsewhere" }})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	over := &http.Server{Handler: rpi.Handler(calls), Protocols: &http.Protocols{}}
	over.Protocols.SetHTTP1(true)
	over.Protocols.SetUnencryptedHTTP2(true)
	go over.Serve(server.Beside(ln)) // until Close
	t.Cleanup(func() { over.Close() })
	return ln.Addr().String(), server
}

func TestThoseWhoComeAfterShutdownAreToldToGoElsewhere(t *testing.T) {
	addr, server := besides(t, &service{})
	echo := (&running{addr: addr}).client(t)
	if _, err := echo.Echo(t.Context(), &echoapi.EchoRequest{}); err != nil {
		t.Fatal(err)
	}
	if err := server.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := echo.Echo(t.Context(), &echoapi.EchoRequest{}); !errors.Is(err, grpcwire.ErrUnprocessed) {
			t.Errorf("got %v, want ErrUnprocessed", err)
		}
	}
}

func TestShutdownCutsOffWhatTakesTooLong(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	addr, server := besides(t, &service{echo: func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		close(begun)
		<-release
		return &echoapi.EchoResponse{}, nil
	}})
	echo := (&running{addr: addr}).client(t)
	got := make(chan error, 1)
	go func() { _, err := echo.Echo(t.Context(), &echoapi.EchoRequest{}); got <- err }()
	<-begun
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown returned %v although a call went on", err)
	}
	if err := <-got; connect.CodeOf(err) != connect.CodeUnavailable || errors.Is(err, grpcwire.ErrUnprocessed) {
		t.Errorf("got %v, want unavailable of a call that was begun", err)
	}
	close(release)
}

func TestCallsForAForeignHostAreRefused(t *testing.T) {
	addr, _ := besides(t, &service{})
	for host, want := range map[string]connect.Code{"elsewhere": connect.CodePermissionDenied, "here": 0} {
		wire := grpcwire.NewTransport(host, &grpcwire.TransportOptions{Dial: func(context.Context, string) (net.Conn, error) { return net.Dial("tcp", addr) }})
		defer wire.Close()
		echo := echoapi.NewEchoServiceClient(connect.NewClient(wire))
		for range 2 {
			if _, err := echo.Echo(t.Context(), &echoapi.EchoRequest{}); err == nil && want != 0 || err != nil && connect.CodeOf(err) != want {
				t.Errorf("for %s: %v, want %v", host, err, want)
			}
		}
	}
}

func TestTheMethodsOfSeveralServersAreServed(t *testing.T) {
	calls := connect.NewServer()
	server := grpcwire.NewServer(connect.NewServer(), &grpcwire.ServerOptions{Logger: quiet})
	echoapi.RegisterEchoServiceHandler(calls, &service{})
	server.Add(calls)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, ln) }()
	wire := grpcwire.NewTransport(ln.Addr().String(), nil)
	if _, err := echoapi.NewEchoServiceClient(connect.NewClient(wire)).Echo(t.Context(), &echoapi.EchoRequest{}); err != nil {
		t.Error(err)
	}
	none := connect.Spec{Procedure: "/no.Such/Method"}
	stream, err := wire.NewClientStream(t.Context(), none)
	if err == nil {
		err = errors.Join(stream.Send(&echoapi.EchoRequest{}), stream.CloseSend())
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Receive(&echoapi.EchoResponse{}); connect.CodeOf(err) != connect.CodeUnimplemented {
		t.Errorf("a method that there is not: %v, want unimplemented", err)
	}
	wire.Close()
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
