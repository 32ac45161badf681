package grpcwire_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/protobuf/proto"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

const (
	data, headers, reset, settings, push, ping, goAway, update, continuation = 0, 1, 3, 4, 5, 6, 7, 8, 9

	endStream, ack, endHeaders = 1, 1, 4

	echoPath = "/cleave.rpi.echo.v1.EchoService/Echo"
)

// rawPeer speaks frames, right or wrong.
type rawPeer struct {
	t      testing.TB
	nc     net.Conn
	enc    *hpack.Encoder
	dec    *hpack.Decoder
	block  bytes.Buffer
	fields map[string]string
	aside  bool // not on the test's goroutine: an error is the peer's leaving
}

func (p *rawPeer) failed(format string, args ...any) {
	p.t.Helper()
	if p.aside {
		runtime.Goexit()
	}
	p.t.Fatalf(format, args...)
}

func newRawPeer(t testing.TB, nc net.Conn) *rawPeer {
	p := &rawPeer{t: t, nc: nc}
	p.enc = hpack.NewEncoder(&p.block)
	p.dec = hpack.NewDecoder(4096, func(f hpack.HeaderField) { p.fields[f.Name] = f.Value })
	return p
}

func (p *rawPeer) write(b []byte) {
	p.t.Helper()
	if _, err := p.nc.Write(b); err != nil {
		p.failed("write: %v", err)
	}
}

func frame(kind, flags byte, id uint32, payload []byte) []byte {
	b := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, id), payload...)
}

func number(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func oneSetting(id uint16, value uint32) []byte {
	return frame(settings, 0, 0, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(nil, id), value))
}

func (p *rawPeer) encode(fields ...string) []byte {
	p.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		if err := p.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}); err != nil {
			p.t.Fatal(err)
		}
	}
	return bytes.Clone(p.block.Bytes())
}

func (p *rawPeer) request(path string, more ...string) []byte {
	return p.encode(append([]string{":method", "POST", ":scheme", "http", ":path", path, ":authority", "test",
		"content-type", "application/grpc", "te", "trailers"}, more...)...)
}

// call returns the frames of a unary call.
func (p *rawPeer) call(id uint32, text string) []byte {
	return append(frame(headers, endHeaders, id, p.request(echoPath)), frame(data, endStream, id, message(p.t, text))...)
}

func message(t testing.TB, text string) []byte {
	b, err := proto.Marshal(&echoapi.EchoRequest{Text: text})
	if err != nil {
		t.Fatal(err)
	}
	return append(append([]byte{0}, number(uint32(len(b)))...), b...)
}

type rawFrame struct {
	kind, flags byte
	id          uint32
	payload     []byte
	fields      map[string]string
}

func (p *rawPeer) read() (f rawFrame, err error) {
	var head [9]byte
	if _, err := io.ReadFull(p.nc, head[:]); err != nil {
		return f, err
	}
	f = rawFrame{kind: head[3], flags: head[4], id: binary.BigEndian.Uint32(head[5:])}
	f.payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(p.nc, f.payload); err != nil {
		return f, err
	}
	if f.kind == headers {
		p.fields = map[string]string{}
		if _, err := p.dec.Write(f.payload); err != nil {
			return f, err
		}
		f.fields = p.fields
	}
	return f, nil
}

// until reads frames up to one of a kind, without ACKs.
func (p *rawPeer) until(kind byte) rawFrame {
	p.t.Helper()
	for {
		f, err := p.read()
		if err != nil {
			p.failed("waiting for a frame of kind %d: %v", kind, err)
		}
		if f.kind == kind && (kind == data || kind == headers || f.flags&ack == 0) {
			return f
		}
	}
}

// service answers by functions that a test brings.
type service struct {
	echoapi.UnimplementedEchoServiceHandler
	echo func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error)
	sum  func(context.Context, echoapi.EchoServiceSumServerStream) (*echoapi.EchoResponse, error)
}

func (s *service) Echo(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	if s.echo != nil {
		return s.echo(ctx, r)
	}
	return &echoapi.EchoResponse{Text: r.GetText(), Number: r.GetNumber(), Data: r.GetData()}, nil
}

func (s *service) Sum(ctx context.Context, stream echoapi.EchoServiceSumServerStream) (*echoapi.EchoResponse, error) {
	return s.sum(ctx, stream)
}

func (s *service) CountUp(ctx context.Context, r *echoapi.EchoRequest, stream echoapi.EchoServiceCountUpServerStream) error {
	for i := range r.GetNumber() {
		if err := stream.Send(&echoapi.EchoResponse{Number: i + 1, Data: r.GetData()}); err != nil {
			return err
		}
	}
	return nil
}

var quiet = slog.New(slog.DiscardHandler)

// running is a server under test.
type running struct {
	addr  string
	stop  context.CancelFunc
	ended chan error
}

func serve(t testing.TB, s *service, o grpcwire.ServerOptions) *running {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	calls := connect.NewServer()
	echoapi.RegisterEchoServiceHandler(calls, s)
	o.Logger = quiet
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{addr: ln.Addr().String(), stop: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- grpcwire.NewServer(calls, &o).Serve(ctx, ln) }()
	t.Cleanup(cancel)
	return r
}

// raw connects to the server, up to and with the SETTINGS.
func (r *running) raw(t testing.TB, first ...[]byte) *rawPeer {
	t.Helper()
	nc, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	p := newRawPeer(t, nc)
	if first == nil {
		first = [][]byte{frame(settings, 0, 0, nil)}
	}
	p.write(append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), bytes.Join(first, nil)...))
	return p
}

func (r *running) client(t testing.TB) echoapi.EchoServiceClient {
	wire := grpcwire.NewTransport(r.addr, nil)
	t.Cleanup(func() { wire.Close() })
	return echoapi.NewEchoServiceClient(connect.NewClient(wire))
}

// rawServer accepts connections of a transport; each is served by one of handlers.
func rawServer(t testing.TB, o grpcwire.TransportOptions, handlers ...func(*rawPeer)) echoapi.EchoServiceClient {
	t.Helper()
	next := make(chan func(*rawPeer), len(handlers))
	for _, h := range handlers {
		next <- h
	}
	o.Dial = func(context.Context, string) (net.Conn, error) {
		select {
		case h := <-next:
			near, far := net.Pipe()
			go func() {
				defer far.Close()
				if _, err := io.ReadFull(far, make([]byte, 24)); err != nil {
					return
				}
				p := newRawPeer(t, far)
				p.aside = true
				h(p)
				_, _ = io.Copy(io.Discard, far)
			}()
			return near, nil
		default:
			return nil, errors.New("no more connections")
		}
	}
	wire := grpcwire.NewTransport("test", &o)
	t.Cleanup(func() { wire.Close() })
	return echoapi.NewEchoServiceClient(connect.NewClient(wire))
}

// answer writes a whole response.
func (p *rawPeer) answer(id uint32, text string) {
	p.write(frame(headers, endHeaders, id, p.encode(":status", "200", "content-type", "application/grpc")))
	p.write(frame(data, 0, id, message(p.t, text)))
	p.write(frame(headers, endHeaders|endStream, id, p.encode("grpc-status", "0")))
}
