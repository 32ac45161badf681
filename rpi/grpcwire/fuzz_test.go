package grpcwire_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

// Whatever a client sends, the server neither panics nor hangs, and serves the
// next connection.
func FuzzServer(f *testing.F) {
	p := newRawPeer(f, nil)
	f.Add(p.call(1, "x"))
	f.Add(append(p.call(1, "x"), p.call(3, "y")...))
	f.Add(append(frame(headers, 0, 1, p.request(echoPath)[:5]), frame(continuation, endHeaders, 1, p.request(echoPath)[5:])...))
	f.Add(append(oneSetting(4, 0), append(p.call(1, "x"), frame(update, 0, 1, number(5))...)...))
	f.Add(append(oneSetting(1, 0), p.call(1, "x")...))
	f.Add(frame(goAway, 0, 0, append(number(1), number(2)...)))
	f.Add(append(p.call(1, "x"), frame(reset, 0, 1, number(8))...))
	f.Add(frame(headers, endHeaders|8|0x20, 1, append([]byte{1, 0, 0, 0, 0, 16}, append(p.request(echoPath), 0)...)))
	calls := connect.NewServer()
	echoapi.RegisterEchoServiceHandler(calls, &service{sum: func(_ context.Context, s echoapi.EchoServiceSumServerStream) (*echoapi.EchoResponse, error) {
		for {
			if _, err := s.Receive(); err != nil {
				return &echoapi.EchoResponse{}, nil
			}
		}
	}})
	f.Fuzz(func(t *testing.T, sent []byte) {
		server := grpcwire.NewServer(calls, &grpcwire.ServerOptions{Logger: quiet})
		ln := newPipes()
		ctx, stop := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- server.Serve(ctx, ln) }()
		nc := ln.dial()
		go io.Copy(io.Discard, nc) // until it ends
		_ = nc.SetWriteDeadline(time.Now().Add(5 * time.Second))
		if _, err := nc.Write(append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), append(frame(settings, 0, 0, nil), sent...)...)); err != nil {
			if late, ok := err.(net.Error); ok && late.Timeout() {
				t.Fatal("the server does not read")
			}
		}
		nc.Close()
		good := newRawPeer(t, ln.dial())
		read := make(chan rawFrame, 1)
		go func() {
			good.aside = true
			good.until(headers)
			read <- good.until(headers)
		}()
		good.write(append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), append(frame(settings, 0, 0, nil), newRawPeer(t, nil).call(1, "x")...)...))
		select {
		case got := <-read:
			if got.fields["grpc-status"] != "0" {
				t.Errorf("got %v", got.fields)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the next connection is not served")
		}
		good.nc.Close()
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Whatever a server answers, the call ends.
func FuzzClient(f *testing.F) {
	p := newRawPeer(f, nil)
	whole := bytes.Join([][]byte{
		frame(headers, endHeaders, 1, p.encode(":status", "200", "content-type", "application/grpc")),
		frame(data, 0, 1, message(f, "x")), frame(headers, endHeaders|endStream, 1, p.encode("grpc-status", "0"))}, nil)
	f.Add(whole)
	f.Add(frame(headers, endHeaders|endStream, 1, newRawPeer(f, nil).encode(":status", "200", "content-type", "application/grpc", "grpc-status", "5", "grpc-message", "%zz%41", "grpc-status-details-bin", "CAUSAXg")))
	f.Add(frame(reset, 0, 1, number(7)))
	f.Add(frame(goAway, 0, 0, append(number(0), number(2)...)))
	f.Fuzz(func(t *testing.T, answer []byte) {
		echo := rawServer(t, grpcwire.TransportOptions{}, func(p *rawPeer) {
			p.write(frame(settings, 0, 0, nil))
			p.until(data)
			go io.Copy(io.Discard, p.nc) // until it ends
			p.write(answer)
			p.nc.Close()
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if _, err := echo.Echo(ctx, &echoapi.EchoRequest{}); ctx.Err() != nil {
			t.Fatalf("the call hung: %v", err)
		}
	})
}

// pipes is a listener in memory.
type pipes struct {
	queue  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{}, 2)} }

func (l *pipes) dial() net.Conn {
	near, far := net.Pipe()
	l.queue <- far
	return near
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case nc := <-l.queue:
		return nc, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	select {
	case l.closed <- struct{}{}:
	default:
	}
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
