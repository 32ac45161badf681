package grpcwire_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

func TestAPeerThatBreaksTheProtocolLosesItsConnectionAndNoMore(t *testing.T) {
	server := serve(t, &service{}, grpcwire.ServerOptions{})
	valid := frame(settings, 0, 0, nil)
	for _, c := range []struct {
		name string
		sent func(p *rawPeer) []byte
		code uint32
	}{
		{"DATA without a stream", func(*rawPeer) []byte { return frame(data, 0, 0, []byte("x")) }, 1},
		{"DATA on a stream that was not opened", func(*rawPeer) []byte { return frame(data, 0, 9, []byte("x")) }, 1},
		{"HEADERS on an even stream", func(p *rawPeer) []byte { return frame(headers, endHeaders, 2, p.request(echoPath)) }, 1},
		{"HEADERS without a stream", func(p *rawPeer) []byte { return frame(headers, endHeaders, 0, p.request(echoPath)) }, 1},
		{"headers that do not decode", func(*rawPeer) []byte { return frame(headers, endHeaders, 1, bytes.Repeat([]byte{0xff}, 20)) }, 9},
		{"a frame longer than allowed", func(*rawPeer) []byte { return frame(data, 0, 1, make([]byte, 1<<14+1)) }, 6},
		{"another frame within headers", func(p *rawPeer) []byte {
			return append(frame(headers, 0, 1, p.request(echoPath)), frame(ping, 0, 0, make([]byte, 8))...)
		}, 1},
		{"headers that never end", func(p *rawPeer) []byte {
			b := frame(headers, 0, 1, p.request(echoPath))
			for range 100 {
				b = append(b, frame(continuation, 0, 1, nil)...)
			}
			return b
		}, 11},
		{"CONTINUATION of nothing", func(*rawPeer) []byte { return frame(continuation, endHeaders, 1, nil) }, 1},
		{"padding longer than the frame", func(p *rawPeer) []byte { return frame(headers, endHeaders|8, 1, []byte{200, 1, 2}) }, 1},
		{"more DATA than the window", func(p *rawPeer) []byte {
			first := frame(data, 0, 1, append([]byte{0, 0, 1, 0, 0}, make([]byte, 1<<14-5)...))
			return append(frame(headers, endHeaders, 1, p.request("/cleave.rpi.echo.v1.EchoService/Sum")), bytes.Repeat(first, 5)...)
		}, 3},
		{"a window of 2 GiB and more", func(*rawPeer) []byte { return frame(update, 0, 0, number(1<<31-1)) }, 3},
		{"a window update by nothing", func(*rawPeer) []byte { return frame(update, 0, 0, number(0)) }, 1},
		{"PUSH_PROMISE", func(*rawPeer) []byte { return frame(push, endHeaders, 1, number(2)) }, 1},
		{"a PING of the wrong size", func(*rawPeer) []byte { return frame(ping, 0, 0, []byte("short")) }, 6},
		{"SETTINGS of the wrong size", func(*rawPeer) []byte { return frame(settings, 0, 0, []byte("short")) }, 6},
		{"an impossible setting", func(*rawPeer) []byte { return oneSetting(5, 1) }, 1},
		{"RST_STREAM on a stream that was not opened", func(*rawPeer) []byte { return frame(reset, 0, 5, number(8)) }, 1},
		{"DATA behind the end", func(p *rawPeer) []byte {
			b := frame(headers, endHeaders, 1, p.request("/cleave.rpi.echo.v1.EchoService/Sum"))
			return append(b, append(frame(data, endStream, 1, nil), bytes.Repeat(frame(data, endStream, 1, nil), 1)...)...)
		}, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			slow := serve(t, &service{sum: func(ctx context.Context, _ echoapi.EchoServiceSumServerStream) (*echoapi.EchoResponse, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}, echo: func(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}}, grpcwire.ServerOptions{})
			p := slow.raw(t, valid)
			go func() { _, _ = p.nc.Write(c.sent(p)) }()
			f := p.until(goAway)
			if got := binary.BigEndian.Uint32(f.payload[4:]); got != c.code {
				t.Errorf("got error code %d (%s), want %d", got, f.payload[8:], c.code)
			}
			if _, err := io.Copy(io.Discard, p.nc); err != nil && !strings.Contains(err.Error(), "reset") {
				t.Errorf("the connection did not end: %v", err)
			}
		})
	}
	if res, err := server.client(t).Echo(t.Context(), &echoapi.EchoRequest{Text: "still here"}); err != nil || res.GetText() != "still here" {
		t.Errorf("got %v, %v", res, err)
	}
}

func TestAClientThatSpeaksSomethingElseIsLetGo(t *testing.T) {
	server := serve(t, &service{}, grpcwire.ServerOptions{})
	p := server.raw(t)
	p.nc.Close()
	for _, first := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"} {
		nc := server.raw(t).nc
		nc.Close()
		other := dial(t, server.addr)
		if _, err := other.Write([]byte(first)); err != nil {
			t.Fatal(err)
		}
		if n, _ := io.Copy(io.Discard, other); n > 0 {
			t.Errorf("got %d bytes in answer to %q, want none", n, first)
		}
	}
}

func TestAFloodOfControlFramesEndsTheConnection(t *testing.T) {
	for name, flood := range map[string][]byte{
		"pings": frame(ping, 0, 0, make([]byte, 8)), "settings": frame(settings, 0, 0, nil),
	} {
		t.Run(name, func(t *testing.T) {
			server := serve(t, &service{}, grpcwire.ServerOptions{})
			p := server.raw(t)
			many := bytes.Repeat(flood, 1000)
			for range 20_000 { // none of the answers is read
				if _, err := p.nc.Write(many); err != nil {
					return
				}
			}
			t.Error("20,000,000 frames were taken without an answer being read")
		})
	}
}

func TestStreamsAboveTheLimitAreRefusedAndOthersServed(t *testing.T) {
	release := make(chan struct{})
	server := serve(t, &service{echo: func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		<-release
		return &echoapi.EchoResponse{}, nil
	}}, grpcwire.ServerOptions{MaxStreams: 2})
	p := server.raw(t)
	for id := uint32(1); id <= 5; id += 2 {
		p.write(p.call(id, "x"))
	}
	if f := p.until(reset); f.id != 5 || binary.BigEndian.Uint32(f.payload) != 7 {
		t.Errorf("got RST_STREAM %v on %d, want REFUSED_STREAM on 5", f.payload, f.id)
	}
	close(release)
	for range 2 {
		for f := p.until(headers); f.fields["grpc-status"] != "0"; f = p.until(headers) {
		}
	}
}

// A client that resets what it has begun still counts for what runs.
func TestRapidResetsDoNotMultiplyHandlers(t *testing.T) {
	var mu sync.Mutex
	running, most := 0, 0
	release := make(chan struct{})
	server := serve(t, &service{echo: func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		<-release
		return &echoapi.EchoResponse{}, nil
	}}, grpcwire.ServerOptions{MaxStreams: 10})
	p := server.raw(t)
	for id := uint32(1); id < 2000; id += 2 {
		p.write(append(p.call(id, "x"), frame(reset, 0, id, number(8))...))
	}
	p.write(frame(ping, 0, 0, make([]byte, 8)))
	for {
		f, err := p.read()
		if err != nil {
			t.Fatal(err)
		}
		if f.kind == ping {
			break
		}
	}
	close(release)
	mu.Lock()
	defer mu.Unlock()
	if most > 10 {
		t.Errorf("%d handlers ran at once, want at most 10", most)
	}
}

func TestTheServerSendsNoMoreThanTheClientsWindows(t *testing.T) {
	server := serve(t, &service{}, grpcwire.ServerOptions{})
	p := server.raw(t, oneSetting(4, 10))
	p.write(p.call(1, strings.Repeat("x", 95)))
	p.until(headers)
	total, want := 0, len(message(t, strings.Repeat("x", 95)))
	for total < want {
		f := p.until(data)
		if total += len(f.payload); len(f.payload) > 10 {
			t.Fatalf("got %d bytes at once, want at most 10", len(f.payload))
		}
		p.write(frame(update, 0, 1, number(uint32(len(f.payload)))))
	}
	if f := p.until(headers); f.fields["grpc-status"] != "0" || total != want {
		t.Errorf("got %d bytes and status %q, want %d and 0", total, f.fields["grpc-status"], want)
	}
}

func TestAResetCancelsTheHandler(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan error, 1)
	server := serve(t, &service{echo: func(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		close(begun)
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}}, grpcwire.ServerOptions{})
	p := server.raw(t)
	p.write(p.call(1, "x"))
	<-begun
	p.write(frame(reset, 0, 1, number(8)))
	if err := <-ended; err != context.Canceled {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestTheDeadlineOfTheHeaderIsTheHandlers(t *testing.T) {
	server := serve(t, &service{echo: func(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		<-child.Done()
		return nil, ctx.Err()
	}}, grpcwire.ServerOptions{})
	p := server.raw(t)
	begin := time.Now()
	p.write(append(frame(headers, endHeaders, 1, p.request(echoPath, "grpc-timeout", "50m")), frame(data, endStream, 1, message(t, "x"))...))
	if f := p.until(headers); f.fields["grpc-status"] != "4" {
		t.Errorf("got status %q, want 4", f.fields["grpc-status"])
	}
	if took := time.Since(begin); took < 50*time.Millisecond {
		t.Errorf("ended after %v, want 50 ms", took)
	}
}

func TestRequestsThatAreNotGRPCAreAnswered(t *testing.T) {
	server := serve(t, &service{}, grpcwire.ServerOptions{})
	p := server.raw(t)
	for i, c := range []struct {
		name             string
		fields           []string
		httpStatus, grpc string
	}{
		{"another method", []string{":method", "GET", ":path", echoPath, "content-type", "application/grpc"}, "405", "2"},
		{"JSON", []string{":method", "POST", ":path", echoPath, "content-type", "application/json"}, "415", "2"},
		{"another codec", []string{":method", "POST", ":path", echoPath, "content-type", "application/grpc+json"}, "200", "12"},
		{"gzip", []string{":method", "POST", ":path", echoPath, "content-type", "application/grpc", "grpc-encoding", "gzip"}, "200", "12"},
		{"no such method", []string{":method", "POST", ":path", "/no.Such/Method", "content-type", "application/grpc"}, "200", "12"},
		{"a timeout that is none", []string{":method", "POST", ":path", echoPath, "content-type", "application/grpc", "grpc-timeout", "soon"}, "200", "13"},
		{"headers of 80 KiB", []string{":method", "POST", ":path", echoPath, "content-type", "application/grpc", "x-a", strings.Repeat("a", 40<<10), "x-b", strings.Repeat("b", 40<<10)}, "200", "8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			id := uint32(2*i + 1)
			block := p.encode(c.fields...)
			kind, flags := byte(headers), byte(endStream)
			for len(block) > 1<<14 {
				p.write(frame(kind, flags, id, block[:1<<14]))
				kind, flags, block = continuation, 0, block[1<<14:]
			}
			p.write(frame(kind, flags|endHeaders, id, block))
			f := p.until(headers)
			if f.fields[":status"] != c.httpStatus || f.fields["grpc-status"] != c.grpc {
				t.Errorf("got %v, want HTTP %s and status %s", f.fields, c.httpStatus, c.grpc)
			}
		})
	}
}

func TestAStoppingServerFinishesWhatIsUnderWay(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	server := serve(t, &service{echo: func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		close(begun)
		<-release
		return &echoapi.EchoResponse{Text: "done"}, nil
	}}, grpcwire.ServerOptions{})
	p := server.raw(t)
	p.write(p.call(1, "x"))
	<-begun
	server.stop()
	if f := p.until(goAway); binary.BigEndian.Uint32(f.payload) != 1 {
		t.Errorf("got GOAWAY up to %d, want 1", binary.BigEndian.Uint32(f.payload))
	}
	p.write(p.call(3, "late"))
	if f := p.until(reset); f.id != 3 || binary.BigEndian.Uint32(f.payload) != 7 {
		t.Errorf("a call behind the GOAWAY got RST_STREAM %v on %d, want REFUSED_STREAM", f.payload, f.id)
	}
	close(release)
	p.until(headers)
	if f := p.until(headers); f.fields["grpc-status"] != "0" {
		t.Errorf("got status %q, want 0", f.fields["grpc-status"])
	}
	p.nc.Close()
	if err := <-server.ended; err != nil {
		t.Errorf("Serve returned %v", err)
	}
}
