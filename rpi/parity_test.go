package rpi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sort"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

// bindings are the ways to reach a server that must not be told apart.
var bindings = []struct {
	name string
	bind func(t *testing.T, s *connect.Server, o rpi.CallOptions) connect.Transport
}{
	{"local", func(_ *testing.T, s *connect.Server, o rpi.CallOptions) connect.Transport {
		return rpi.Local(s, &rpi.LocalOptions{Call: o})
	}},
	{"connect proto", overHTTP(false)},
	{"connect JSON", overHTTP(false, connecthttp.WithProtoJSON())},
	{"connect gzip", overHTTP(false, connecthttp.WithSendGzip())},
	{"gRPC h2c", overHTTP(true, connecthttp.WithGRPC())},
	{"gRPC-Web", overHTTP(false, connecthttp.WithGRPCWeb())},
	{"gRPC over grpcwire", overGRPCWire},
}

func overHTTP(h2c bool, options ...connecthttp.Option) func(*testing.T, *connect.Server, rpi.CallOptions) connect.Transport {
	return func(t *testing.T, s *connect.Server, o rpi.CallOptions) connect.Transport {
		server := httptest.NewUnstartedServer(rpi.Handler(s))
		protocols := &http.Protocols{}
		protocols.SetHTTP1(true)
		protocols.SetUnencryptedHTTP2(true)
		server.Config.Protocols = protocols
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		server.Start()
		transport := &http.Transport{}
		if h2c {
			only := &http.Protocols{}
			only.SetUnencryptedHTTP2(true)
			transport.Protocols = only
		}
		t.Cleanup(func() { transport.CloseIdleConnections(); server.Close() })
		return rpi.Wire(connecthttp.NewTransport(&http.Client{Transport: transport}, server.URL, options...), o)
	}
}

// impl answers by a function that the case brings.
type impl struct {
	echoapi.UnimplementedEchoServiceHandler
	echo  func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error)
	calls atomic.Int64
}

func (i *impl) Echo(ctx context.Context, req *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	i.calls.Add(1)
	return i.echo(ctx, req)
}

type ctxKey struct{}

var errSentinel = errors.New("ticket 7 is gone")

// stateError is a domain error that brings data and says which sentinel it is.
type stateError struct{ state string }

func (e *stateError) Error() string        { return "not cancelable while " + e.state }
func (e *stateError) Is(target error) bool { return target == errNotCancelable }

var errNotCancelable = errors.New("not cancelable")

var domainErrors = rpi.Errors(
	rpi.ErrorDef{Err: errSentinel, Code: connect.CodeNotFound, Reason: "TICKET_NOT_FOUND"},
	rpi.ErrorDef{Err: errNotCancelable, Code: connect.CodeFailedPrecondition, Reason: "NOT_CANCELABLE"},
)

// outcome is what a caller can observe, as text.
func outcome(res *echoapi.EchoResponse, err error, info *connect.CallInfo) string {
	var b strings.Builder
	if err == nil {
		fmt.Fprintf(&b, "text=%q number=%d data=%d list=%v", res.GetText(), res.GetNumber(), len(res.GetData()), res.GetList())
	} else {
		fmt.Fprintf(&b, "code=%s", connect.CodeOf(err))
		if e, ok := errors.AsType[*connect.Error](err); ok {
			fmt.Fprintf(&b, " message=%q remote=%v", e.Message(), e.IsRemote())
			for _, d := range e.Details() {
				fmt.Fprintf(&b, " detail=%s:%x", d.Type, d.Value)
			}
		}
		fmt.Fprintf(&b, " canceled=%v deadline=%v sentinel=%v notCancelable=%v",
			errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.Is(err, errSentinel), errors.Is(err, errNotCancelable))
	}
	for _, h := range []*connect.Header{info.ResponseHeader(), info.ResponseTrailer()} {
		var kept []string
		for k, v := range h.All() {
			if strings.HasPrefix(k, "X-") {
				kept = append(kept, fmt.Sprint(k, v))
			}
		}
		sort.Strings(kept)
		fmt.Fprintf(&b, " %v", kept)
	}
	return b.String()
}

type parityCase struct {
	name string
	echo func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error)
	ctx  func(context.Context) (context.Context, context.CancelFunc)
	req  *echoapi.EchoRequest
	head map[string]string
	// want is a part of the outcome; the whole is compared between bindings.
	want  string
	calls int64 // of the handler
	skip  string
	loose bool // compare code and count only: texts of codecs differ
	max   time.Duration
}

func timeout(d time.Duration) func(context.Context) (context.Context, context.CancelFunc) {
	return func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, d) }
}

func fails(err error) func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) { return nil, err }
}

func echoes(_ context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return &echoapi.EchoResponse{Text: r.Text, Number: r.Number, Data: r.Data, List: r.List}, nil
}

func says(f func(ctx context.Context, info *connect.CallInfo) string) func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return func(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		info, _ := connect.CallInfoForServerContext(ctx)
		return &echoapi.EchoResponse{Text: f(ctx, info)}, nil
	}
}

func retryInfo() *connect.ErrorDetail {
	d, err := connectproto.NewErrorDetail(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
	if err != nil {
		panic(err)
	}
	return d
}

var parityCases = []parityCase{
	{name: "a message goes and comes back", echo: echoes, req: &echoapi.EchoRequest{Text: "naïve ☃", Number: -7, Data: []byte{0, 1}, List: []string{"a", ""}}, want: `text="naïve ☃" number=-7 data=2 list=[a ]`, calls: 1},
	{name: "an empty message is a message", echo: echoes, want: `text=""`, calls: 1},
	{name: "a nil response is an empty message", echo: fails(nil), want: `text=""`, calls: 1},
	{name: "a response with an error is the error", echo: func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		return &echoapi.EchoResponse{Text: "both"}, connect.NewError(connect.CodeAborted, "no")
	}, want: `code=aborted message="no" remote=true`, calls: 1},
	{name: "a coded error keeps code and message", echo: fails(connect.NewError(connect.CodeNotFound, "no ticket")), want: `code=not_found message="no ticket" remote=true`, calls: 1},
	{name: "a coded error keeps its details", echo: fails(connect.NewError(connect.CodeUnavailable, "later").WithDetail(retryInfo())), want: "google.rpc.RetryInfo", calls: 1},
	{name: "a wrapped coded error is the coded error", echo: fails(fmt.Errorf("secret: %w", connect.NewError(connect.CodeAborted, "again"))), want: `code=aborted message="again"`, calls: 1},
	{name: "a message with odd characters survives", echo: fails(connect.NewError(connect.CodeNotFound, "\"q\" é\n\t<b>%20")), want: `code=not_found`, calls: 1},
	{name: "a cause is stripped", echo: fails(connect.NewError(connect.CodeDataLoss, "sorry").WithCause(errSentinel)), want: "sentinel=false", calls: 1},
	{name: "a plain error is unknown without text", echo: fails(errors.New("password=1234")), want: `code=unknown message="" remote=true`, calls: 1},
	{name: "a neighbour's error is internal without text", echo: fails(connect.NewError(connect.CodeNotFound, "theirs").WithRemote()), want: `code=internal message="" remote=true`, calls: 1},
	{name: "a canceled error of the handler's own is canceled", echo: fails(fmt.Errorf("inner: %w", context.Canceled)), want: `code=canceled message="" remote=true`, calls: 1},
	{name: "a deadline error of the handler's own is deadline_exceeded", echo: fails(context.DeadlineExceeded), want: `code=deadline_exceeded message="" remote=true`, calls: 1},
	{name: "a declared error is found by errors.Is", echo: fails(errSentinel), want: `code=not_found message="ticket 7 is gone" remote=true`, calls: 1},
	{name: "a wrapped declared error does not show what wraps it", echo: fails(fmt.Errorf("read /var/secret: %w", errSentinel)), want: `message="ticket 7 is gone"`, calls: 1},
	{name: "a joined declared error is found", echo: fails(errors.Join(io.ErrUnexpectedEOF, errSentinel)), want: "sentinel=true", calls: 1},
	{name: "a declared error with data tells its own text", echo: fails(&stateError{"PREPARING"}), want: `code=failed_precondition message="not cancelable while PREPARING"`, calls: 1},
	{name: "an invalid field is named", echo: fails(rpi.InvalidField("quantity", "must be positive")), want: `code=invalid_argument message="quantity: must be positive"`, calls: 1},
	{name: "a refusal carries its reason", echo: fails(rpi.Refuse(connect.CodeAborted, "NOT_YET", "not yet")), want: "google.rpc.ErrorInfo", calls: 1},
	{name: "a panic is internal without text", echo: func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) { panic("secret") }, want: `code=internal message="" remote=true`, calls: 1},
	{name: "a panic with an error is internal without text", echo: func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) { panic(errSentinel) }, want: `code=internal message="" remote=true canceled=false deadline=false sentinel=false`, calls: 1},
	{name: "a canceled context is not called", echo: echoes, ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		return ctx, cancel
	}, want: "code=canceled", calls: 0},
	{name: "an expired context is not called", echo: echoes, ctx: timeout(-time.Second), want: "code=deadline_exceeded", calls: 0},
	{name: "a deadline ends a call whose handler ignores it", echo: func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		time.Sleep(2 * time.Second)
		return nil, nil
	}, ctx: timeout(500 * time.Millisecond), want: "code=deadline_exceeded", calls: 1, loose: true, max: 1500 * time.Millisecond},
	{name: "a handler's context ends at the caller's deadline", echo: func(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}, ctx: timeout(500 * time.Millisecond), want: "code=deadline_exceeded", calls: 1, loose: true, max: 5 * time.Second},
	{name: "the handler sees the caller's deadline", ctx: timeout(time.Minute), echo: says(func(ctx context.Context, _ *connect.CallInfo) string {
		d, ok := ctx.Deadline()
		left := time.Until(d)
		return fmt.Sprint(ok, left > 20*time.Second, left <= 30*time.Second) // clamped to 30 s
	}), want: `text="true true true"`, calls: 1},
	{name: "a call without a deadline gets one", echo: says(func(ctx context.Context, _ *connect.CallInfo) string {
		d, ok := ctx.Deadline()
		return fmt.Sprint(ok, time.Until(d) < 10*time.Second)
	}), want: `text="true true"`, calls: 1},
	{name: "a canceled caller does not wait", ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(500*time.Millisecond, cancel)
		return ctx, cancel
	}, echo: func(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}, want: "code=canceled", calls: 1, loose: true, max: 5 * time.Second},
	{name: "context values stay with the caller", ctx: func(ctx context.Context) (context.Context, context.CancelFunc) {
		return context.WithValue(ctx, ctxKey{}, "secret"), func() {}
	}, echo: says(func(ctx context.Context, _ *connect.CallInfo) string { return fmt.Sprint(ctx.Value(ctxKey{})) }), want: `text="<nil>"`, calls: 1},
	{name: "request headers arrive", head: map[string]string{"X-Tenant": "north"}, echo: says(func(_ context.Context, info *connect.CallInfo) string {
		return info.RequestHeader().Get("x-tenant")
	}), want: `text="north"`, calls: 1},
	{name: "response headers and trailers arrive", echo: says(func(_ context.Context, info *connect.CallInfo) string {
		info.ResponseHeader().Set("X-Head", "h")
		info.ResponseTrailer().Set("X-Tail", "t")
		return ""
	}), want: `[X-Head[h]] [X-Tail[t]]`, calls: 1},
	{name: "response headers arrive with an error", echo: func(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		info, _ := connect.CallInfoForServerContext(ctx)
		info.ResponseHeader().Set("X-Head", "h")
		return nil, connect.NewError(connect.CodeAborted, "no")
	}, want: `X-Head[h]`, calls: 1, skip: "gRPC"}, // a gRPC error without a body is trailers-only
	{name: "a header that cannot be sent is refused", head: map[string]string{"X-Bad": "a\nb"}, echo: echoes, want: "code=unavailable", calls: 0, loose: true},
	{name: "text that is not UTF-8 is refused at the caller", echo: echoes, req: &echoapi.EchoRequest{Text: "\xff"}, want: "code=internal", calls: 0, loose: true},
	{name: "text that is not UTF-8 is refused at the handler", echo: fails2(&echoapi.EchoResponse{Text: "\xff"}), want: "code=internal", calls: 1, loose: true},
	{name: "a message of 3 MiB passes", ctx: timeout(2 * time.Minute), echo: echoes, req: &echoapi.EchoRequest{Data: make([]byte, 3<<20)}, want: "data=3145728", calls: 1, skip: "JSON"}, // base64 makes it 4 MiB
	{name: "a request above 4 MiB is refused", ctx: timeout(2 * time.Minute), echo: echoes, req: &echoapi.EchoRequest{Data: make([]byte, 5<<20)}, want: "code=resource_exhausted", calls: 0, loose: true},
	{name: "a response above 4 MiB is refused", ctx: timeout(2 * time.Minute), echo: fails2(&echoapi.EchoResponse{Data: make([]byte, 5<<20)}), want: "code=resource_exhausted", calls: 1, loose: true},
	{name: "a handler's own client metadata is not the caller's", head: map[string]string{"X-Tenant": "north"}, echo: says(func(ctx context.Context, _ *connect.CallInfo) string {
		_, ok := connect.CallInfoForClientContext(ctx)
		return fmt.Sprint(ok)
	}), want: `text="false"`, calls: 1},
}

func fails2(res *echoapi.EchoResponse) func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) { return res, nil }
}

func TestLocalBehavesAsTheWireDoes(t *testing.T) {
	t.Parallel()
	for _, c := range parityCases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			first := ""
			for _, b := range bindings {
				if c.skip != "" && strings.Contains(b.name, c.skip) {
					continue
				}
				got, calls, took := run(t, c, b.bind)
				if !strings.Contains(got, c.want) {
					t.Errorf("%s: got %s, want %s", b.name, got, c.want)
				}
				if calls != c.calls {
					t.Errorf("%s: the handler ran %d times, want %d", b.name, calls, c.calls)
				}
				if c.max > 0 && took > c.max {
					t.Errorf("%s: took %v, want at most %v", b.name, took, c.max)
				}
				switch {
				case first == "":
					first = got
				case !c.loose && got != first:
					t.Errorf("%s differs from %s:\n got %s\nwant %s", b.name, bindings[0].name, got, first)
				}
			}
		})
	}
}

func run(t *testing.T, c parityCase, bind func(*testing.T, *connect.Server, rpi.CallOptions) connect.Transport) (string, int64, time.Duration) {
	t.Helper()
	handler := &impl{echo: c.echo}
	server := rpi.NewServer(&rpi.ServerOptions{Errors: domainErrors, Logger: slog.New(slog.DiscardHandler)})
	echoapi.RegisterEchoServiceHandler(server, handler)
	client := echoapi.NewEchoServiceClient(connect.NewClient(bind(t, server, rpi.CallOptions{Errors: domainErrors})))
	ctx := context.Background()
	if c.ctx != nil {
		var cancel context.CancelFunc
		ctx, cancel = c.ctx(ctx)
		defer cancel()
	}
	ctx, info := connect.NewClientContext(ctx)
	for k, v := range c.head {
		info.RequestHeader().Set(k, v)
	}
	req := c.req
	if req == nil {
		req = &echoapi.EchoRequest{}
	}
	before := proto.CloneOf(req)
	begin := time.Now()
	res, err := client.Echo(ctx, req)
	took := time.Since(begin)
	if req.Text != "\xff" && !proto.Equal(before, req) {
		t.Error("the call changed its request")
	}
	return outcome(res, err, info), handler.calls.Load(), took
}

func TestLocalCopiesMessages(t *testing.T) {
	t.Parallel()
	var seen *echoapi.EchoRequest
	sent := &echoapi.EchoResponse{List: []string{"b"}}
	server := rpi.NewServer(nil)
	echoapi.RegisterEchoServiceHandler(server, &impl{echo: func(_ context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		seen = r
		r.List[0] = "changed by the handler"
		return sent, nil
	}})
	client := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(server, nil)))
	req := &echoapi.EchoRequest{List: []string{"a"}}
	res, err := client.Echo(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	res.List[0] = "changed by the caller"
	if seen == req || req.List[0] != "a" || sent.List[0] != "b" {
		t.Errorf("a message is shared: request %v, response %v", req, sent)
	}
	if reflect.ValueOf(res).Pointer() == reflect.ValueOf(sent).Pointer() {
		t.Error("the response is the handler's own")
	}
}
