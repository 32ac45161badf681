package grpcwire_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

// over returns a client whose connections are what dial makes, in a bubble.
func over(t *testing.T, dial func(n int) (net.Conn, error)) (*grpcwire.Transport, echoapi.EchoServiceClient) {
	n := 0
	wire := grpcwire.NewTransport("test", &grpcwire.TransportOptions{Dial: func(context.Context, string) (net.Conn, error) {
		n++
		return dial(n)
	}})
	t.Cleanup(func() { wire.Close() })
	return wire, echoapi.NewEchoServiceClient(connect.NewClient(wire))
}

// peerOf returns the near end of a connection whose far end is left to peer, and
// is closed after it.
func peerOf(t *testing.T, peer func(p *rawPeer)) net.Conn {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		if _, err := io.ReadFull(far, make([]byte, len(preface))); err != nil {
			return
		}
		p := newRawPeer(t, far)
		p.aside = true
		peer(p)
	}()
	return near
}

func TestAnAddressWhereNoHTTP2IsSpokenIsToldApart(t *testing.T) {
	answers := func(text string) func(*rawPeer) {
		return func(p *rawPeer) {
			go io.Copy(io.Discard, p.nc) // until it ends
			p.write([]byte(text))
		}
	}
	for name, c := range map[string]struct {
		peer func(*rawPeer)
		want bool
	}{
		"HTTP/1.1 that refuses":   {answers("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"), true},
		"HTTP/1.1 that stays":     {func(p *rawPeer) { answers("HTTP/1.1 505 HTTP Version Not Supported\r\n\r\n")(p); p.until(99) }, true},
		"something else":          {answers("220 mail.example ESMTP\r\n"), true},
		"one that closes":         {func(*rawPeer) {}, true},
		"one that says nothing":   {func(p *rawPeer) { p.until(99) }, true},
		"one that breaks a frame": {answers("\x00\x00"), true},
		"HTTP/2 that soon closes": {func(p *rawPeer) {
			go io.Copy(io.Discard, p.nc) // until it ends
			p.write(frame(settings, 0, 0, nil))
			time.Sleep(time.Second)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, echo := over(t, func(int) (net.Conn, error) { return peerOf(t, c.peer), nil })
				begin := time.Now()
				_, err := echo.Echo(t.Context(), &echoapi.EchoRequest{})
				if connect.CodeOf(err) != connect.CodeUnavailable || errors.Is(err, grpcwire.ErrNotHTTP2) != c.want || c.want && !errors.Is(err, grpcwire.ErrUnprocessed) {
					t.Errorf("got %v, want unavailable, ErrNotHTTP2 %v", err, c.want)
				}
				if took := time.Since(begin); took > 2*time.Second {
					t.Errorf("that took %v", took)
				}
			})
		})
	}
}

func TestWhoWaitsForADialThatFailsIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dials := 0
		_, echo := over(t, func(n int) (net.Conn, error) {
			dials = n
			time.Sleep(time.Second)
			return nil, errors.New("nobody there")
		})
		begin := time.Now()
		hasty, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		var all sync.WaitGroup
		for n := range 10 {
			all.Go(func() {
				ctx := t.Context()
				if n == 0 { // for whom the dial may have begun
					ctx = hasty
				}
				_, err := echo.Echo(ctx, &echoapi.EchoRequest{})
				if !errors.Is(err, grpcwire.ErrUnprocessed) || errors.Is(err, grpcwire.ErrNotHTTP2) || errors.Is(err, context.DeadlineExceeded) != (n == 0) {
					t.Errorf("caller %d: %v", n, err)
				}
			})
		}
		all.Wait()
		if took := time.Since(begin); dials != 1 || took != time.Second {
			t.Errorf("%d dials took %v, want one for all", dials, took)
		}
	})
}

// A server that falls silent costs the calls under way, and then no call any
// time until it answers.
func TestAServerThatFellSilentIsAskedUntilItAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, echo := over(t, func(n int) (net.Conn, error) {
			return peerOf(t, func(p *rawPeer) {
				go func() {
					if n == 1 || n > 4 {
						p.write(frame(settings, 0, 0, nil))
					}
				}()
				p.until(data)
				if n > 4 {
					go func() { p.until(99) }()
					p.answer(1, "back")
				}
				p.until(99)
			}), nil
		})
		begin := time.Now()
		_, err := echo.Echo(t.Context(), &echoapi.EchoRequest{})
		if took := time.Since(begin); connect.CodeOf(err) != connect.CodeUnavailable || errors.Is(err, grpcwire.ErrUnprocessed) || took != 8*time.Second {
			t.Errorf("the call under way: %v after %v, want unavailable after 8 s", err, took)
		}
		refused := 0
		for {
			begin := time.Now()
			res, err := echo.Echo(t.Context(), &echoapi.EchoRequest{})
			if err == nil {
				if res.GetText() != "back" {
					t.Errorf("got %q", res.GetText())
				}
				break
			}
			if took := time.Since(begin); took != 0 || !errors.Is(err, grpcwire.ErrUnprocessed) || errors.Is(err, grpcwire.ErrNotHTTP2) {
				t.Fatalf("while it is silent: %v after %v", err, took)
			}
			refused++
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(begin); refused == 0 || took > 30*time.Second {
			t.Errorf("%d calls were refused, in use again after %v", refused, took)
		}
	})
}

// A stream may be silent for long. That its peer is there is known all the
// same, if it is one of ours: others take many pings ill.
func TestAPeerOfOursIsPingedForAsLongAsAStreamIsSilent(t *testing.T) {
	for name, c := range map[string]struct {
		first       []byte
		least, most int
	}{
		"ours": {[]byte(settingsOf(kin)), 100, 120}, "a stranger": {[]byte(settingsOf("")), 2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var pings atomic.Int64
				_, echo := over(t, func(int) (net.Conn, error) {
					return peerOf(t, func(p *rawPeer) {
						go func() {
							p.write(c.first)
							time.Sleep(10 * time.Minute)
							p.answer(1, "late")
						}()
						for {
							f, err := p.read()
							if err != nil {
								return
							}
							if f.kind == ping && f.flags&ack == 0 {
								pings.Add(1)
								go p.write(frame(ping, ack, 0, f.payload))
							}
						}
					}), nil
				})
				if res, err := echo.Echo(t.Context(), &echoapi.EchoRequest{}); err != nil || res.GetText() != "late" {
					t.Errorf("got %v, %v", res, err)
				}
				if n := int(pings.Load()); n < c.least || n > c.most {
					t.Errorf("%d pings in 10 minutes, want %d to %d", n, c.least, c.most)
				}
			})
		})
	}
}

// Nobody may be left who reads a stream or closes it.
func TestAStreamEndsWithItsContext(t *testing.T) {
	ended := make(chan error, 1)
	server := serve(t, &service{sum: func(ctx context.Context, s echoapi.EchoServiceSumServerStream) (*echoapi.EchoResponse, error) {
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}}, grpcwire.ServerOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	stream, err := server.client(t).Sum(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&echoapi.EchoRequest{}); err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Fatal("the handler goes on")
	}
	if _, err := stream.CloseAndReceive(); connect.CodeOf(err) != connect.CodeCanceled {
		t.Errorf("got %v, want canceled", err)
	}
}
