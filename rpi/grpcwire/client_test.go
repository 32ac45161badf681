package grpcwire_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

func dial(t testing.TB, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return nc
}

func TestManyCallersGetTheirOwnAnswers(t *testing.T) {
	echo := serve(t, &service{}, grpcwire.ServerOptions{MaxStreams: 20}).client(t)
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			for j := range 20 {
				payload := make([]byte, i*j*10)
				res, err := echo.Echo(t.Context(), &echoapi.EchoRequest{Number: int64(i*1000 + j), Data: payload})
				if err != nil || res.GetNumber() != int64(i*1000+j) || len(res.GetData()) != len(payload) {
					t.Errorf("call %d of caller %d: got %d with %d bytes, %v", j, i, res.GetNumber(), len(res.GetData()), err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestMessagesLargerThanAnyWindowPassBothWays(t *testing.T) {
	echo := serve(t, &service{}, grpcwire.ServerOptions{}).client(t)
	payload := []byte(strings.Repeat("0123456789abcdef", 3<<16)) // 3 MiB
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			res, err := echo.Echo(t.Context(), &echoapi.EchoRequest{Data: payload})
			if err != nil || string(res.GetData()) != string(payload) {
				t.Errorf("got %d bytes, %v", len(res.GetData()), err)
			}
		})
	}
	wg.Wait()
}

func TestAStreamWaitsForASlowReader(t *testing.T) {
	echo := serve(t, &service{}, grpcwire.ServerOptions{}).client(t)
	stream, err := echo.CountUp(t.Context(), &echoapi.EchoRequest{Number: 500, Data: make([]byte, 4<<10)})
	if err != nil {
		t.Fatal(err)
	}
	for i := int64(1); ; i++ {
		res, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			if i != 501 {
				t.Errorf("got %d messages, want 500", i-1)
			}
			return
		}
		if err != nil || res.GetNumber() != i {
			t.Fatalf("message %d: got %v, %v", i, res.GetNumber(), err)
		}
	}
}

func TestCloseEndsAStreamThatIsBeingRead(t *testing.T) {
	server := serve(t, &service{sum: func(ctx context.Context, s echoapi.EchoServiceSumServerStream) (*echoapi.EchoResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}, grpcwire.ServerOptions{})
	wire := grpcwire.NewTransport(server.addr, nil)
	defer wire.Close()
	stream, err := wire.NewClientStream(t.Context(), connect.Spec{StreamType: connect.StreamTypeBidi, Procedure: "/cleave.rpi.echo.v1.EchoService/Sum"})
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&echoapi.EchoRequest{}); err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() { got <- stream.Receive(&echoapi.EchoResponse{}) }()
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; connect.CodeOf(err) != connect.CodeCanceled {
		t.Errorf("got %v, want canceled", err)
	}
}

func TestWhatTheServerHasNotBegunIsToldApart(t *testing.T) {
	for name, refuse := range map[string]func(*rawPeer){
		"GOAWAY before the call": func(p *rawPeer) { p.write(frame(goAway, 0, 0, append(number(0), number(0)...))) },
		"the call was refused":   func(p *rawPeer) { p.write(frame(reset, 0, 1, number(7))) },
		"GOAWAY with an error":   func(p *rawPeer) { p.write(frame(goAway, 0, 0, append(number(0), number(11)...))) },
	} {
		t.Run(name, func(t *testing.T) {
			echo := rawServer(t, grpcwire.TransportOptions{}, func(p *rawPeer) {
				p.write(frame(settings, 0, 0, nil))
				p.until(data)
				refuse(p)
			})
			_, err := echo.Echo(t.Context(), &echoapi.EchoRequest{})
			if connect.CodeOf(err) != connect.CodeUnavailable || !errors.Is(err, grpcwire.ErrUnprocessed) {
				t.Errorf("got %v, want unavailable because of ErrUnprocessed", err)
			}
		})
	}
}

func TestACallCutOffMayHaveBeenProcessed(t *testing.T) {
	echo := rawServer(t, grpcwire.TransportOptions{},
		func(p *rawPeer) { p.write(frame(settings, 0, 0, nil)); p.until(data); p.nc.Close() },
		func(p *rawPeer) { p.write(frame(settings, 0, 0, nil)); p.until(data); p.answer(1, "again") })
	_, err := echo.Echo(t.Context(), &echoapi.EchoRequest{})
	if connect.CodeOf(err) != connect.CodeUnavailable || errors.Is(err, grpcwire.ErrUnprocessed) {
		t.Errorf("got %v, want unavailable, perhaps processed", err)
	}
	if res, err := echo.Echo(t.Context(), &echoapi.EchoRequest{}); err != nil || res.GetText() != "again" {
		t.Errorf("the next connection: got %v, %v", res, err)
	}
}

func TestCallsWaitForTheServersLimitOfStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		echo := rawServer(t, grpcwire.TransportOptions{}, func(p *rawPeer) {
			p.write(oneSetting(3, 1))
			p.until(data)
			<-release
			p.answer(1, "first")
			for f := p.until(data); ; f = p.until(data) {
				p.answer(f.id, "next")
			}
		})
		first := make(chan error, 1)
		go func() { _, err := echo.Echo(t.Context(), &echoapi.EchoRequest{}); first <- err }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := echo.Echo(ctx, &echoapi.EchoRequest{}); connect.CodeOf(err) != connect.CodeDeadlineExceeded {
			t.Errorf("a call above the limit: got %v, want deadline_exceeded", err)
		}
		second := make(chan error, 1)
		go func() { _, err := echo.Echo(t.Context(), &echoapi.EchoRequest{}); second <- err }()
		synctest.Wait()
		close(release)
		if err := errors.Join(<-first, <-second); err != nil {
			t.Error(err)
		}
	})
}

func TestASilentServerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		echo := rawServer(t, grpcwire.TransportOptions{Silence: 5 * time.Second}, func(p *rawPeer) {
			p.write(frame(settings, 0, 0, nil))
			p.until(data)
		})
		begin := time.Now()
		_, err := echo.Echo(t.Context(), &echoapi.EchoRequest{})
		if took := time.Since(begin); connect.CodeOf(err) != connect.CodeUnavailable || took > 15*time.Second {
			t.Errorf("got %v after %v, want unavailable within 15 s", err, took)
		}
	})
}

func TestASlowServerThatAnswersPingsIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pings := 0
		echo := rawServer(t, grpcwire.TransportOptions{Silence: 5 * time.Second}, func(p *rawPeer) {
			p.write(frame(settings, 0, 0, nil))
			p.until(data)
			go func() { time.Sleep(10 * time.Minute); p.answer(1, "late") }()
			for {
				f, err := p.read()
				if err != nil {
					return
				}
				if f.kind == ping {
					pings++
					p.write(frame(ping, ack, 0, f.payload))
				}
			}
		})
		res, err := echo.Echo(t.Context(), &echoapi.EchoRequest{})
		if err != nil || res.GetText() != "late" {
			t.Errorf("got %v, %v", res, err)
		}
		if pings != 2 {
			t.Errorf("got %d pings in one silence, want 2: servers of grpc-go hang up at more", pings)
		}
	})
}

func TestResponsesThatAreNotGRPCAreErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer func(p *rawPeer)
		want   connect.Code
	}{
		{"404", func(p *rawPeer) { p.write(frame(headers, endHeaders|endStream, 1, p.encode(":status", "404"))) }, connect.CodeUnimplemented},
		{"503", func(p *rawPeer) { p.write(frame(headers, endHeaders|endStream, 1, p.encode(":status", "503"))) }, connect.CodeUnavailable},
		{"a page", func(p *rawPeer) {
			p.write(frame(headers, endHeaders, 1, p.encode(":status", "200", "content-type", "text/html")))
			p.write(frame(data, endStream, 1, []byte("<html>")))
		}, connect.CodeInternal},
		{"no trailers", func(p *rawPeer) {
			p.write(frame(headers, endHeaders, 1, p.encode(":status", "200", "content-type", "application/grpc")))
			p.write(frame(data, endStream, 1, message(p.t, "x")))
		}, connect.CodeInternal},
		{"a message cut short", func(p *rawPeer) {
			p.write(frame(headers, endHeaders, 1, p.encode(":status", "200", "content-type", "application/grpc")))
			p.write(frame(data, 0, 1, message(p.t, "x")[:6]))
			p.write(frame(headers, endHeaders|endStream, 1, p.encode("grpc-status", "0")))
		}, connect.CodeInternal},
		{"an answer above the limit", func(p *rawPeer) {
			p.write(frame(headers, endHeaders, 1, p.encode(":status", "200", "content-type", "application/grpc")))
			p.write(frame(data, 0, 1, append([]byte{0}, number(5<<20)...)))
			p.write(frame(headers, endHeaders|endStream, 1, p.encode("grpc-status", "0")))
		}, connect.CodeResourceExhausted},
		{"a reset", func(p *rawPeer) { p.write(frame(reset, 0, 1, number(2))) }, connect.CodeInternal},
		{"frames that are none", func(p *rawPeer) { p.write(frame(headers, endHeaders, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})) }, connect.CodeUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			echo := rawServer(t, grpcwire.TransportOptions{}, func(p *rawPeer) {
				p.write(frame(settings, 0, 0, nil))
				p.until(data)
				c.answer(p)
			})
			if _, err := echo.Echo(t.Context(), &echoapi.EchoRequest{}); connect.CodeOf(err) != c.want {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}
