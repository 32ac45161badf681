package paritytest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

// Cases is the table.
func Cases() []Case {
	return slices.Concat(messages, failures(), deadlines, metadata, streamsDown, streamsUp)
}

type (
	request  = echoapi.EchoRequest
	response = echoapi.EchoResponse
	unary    = func(context.Context, *request) (*response, error)
)

const notUTF8 = "\xff"

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

type ctxKey struct{}

func with(r *request) []*request { return []*request{r} }

func timeout(d time.Duration) func(context.Context) (context.Context, context.CancelFunc) {
	return func(ctx context.Context) (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, d) }
}

func canceled(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx, cancel
}

func canceledAfter(d time.Duration) func(context.Context) (context.Context, context.CancelFunc) {
	return func(ctx context.Context) (context.Context, context.CancelFunc) {
		ctx, cancel := context.WithCancel(ctx)
		time.AfterFunc(d, cancel)
		return ctx, cancel
	}
}

func withValue(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithValue(ctx, ctxKey{}, "secret"), func() {}
}

func fails(err error) unary { return gives(nil, err) }

func gives(res *response, err error) unary {
	return func(context.Context, *request) (*response, error) { return res, err }
}

func panics(with any) unary {
	return func(context.Context, *request) (*response, error) { panic(with) }
}

func echoes(_ context.Context, r *request) (*response, error) {
	return &response{Text: r.Text, Number: r.Number, Data: r.Data, List: r.List}, nil
}

// waits returns when the handler's context ends.
func waits(ctx context.Context, _ *request) (*response, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// says answers with what f finds.
func says(f func(ctx context.Context, info *connect.CallInfo) string) unary {
	return func(ctx context.Context, _ *request) (*response, error) {
		info, _ := connect.CallInfoForServerContext(ctx)
		return &response{Text: f(ctx, info)}, nil
	}
}

// tells sets metadata of the answer and ends with err.
func tells(err error) unary {
	return func(ctx context.Context, _ *request) (*response, error) {
		mark(ctx)
		return nil, err
	}
}

func mark(ctx context.Context) {
	info, _ := connect.CallInfoForServerContext(ctx)
	info.ResponseHeader().Set("X-Head", "h")
	info.ResponseTrailer().Set("X-Tail", "t")
}

func detail(m proto.Message) *connect.ErrorDetail {
	d, err := connectproto.NewErrorDetail(m)
	if err != nil {
		panic(err) // a message of ours
	}
	return d
}

func retryInfo() *connect.ErrorDetail {
	return detail(&errdetails.RetryInfo{RetryDelay: durationpb.New(time.Second)})
}

var messages = []Case{
	{Name: "a message goes and comes back", Unary: echoes, Requests: with(&request{Text: "naïve ☃", Number: -7, Data: []byte{0, 1}, List: []string{"a", ""}}), Want: `{text="naïve ☃" number=-7 data=2 list=["a" ""]}`, Calls: 1},
	{Name: "an empty message is a message", Unary: echoes, Want: `{text=""`, Calls: 1},
	{Name: "the greatest and the least number survive", Unary: echoes, Requests: with(&request{Number: -1 << 63}), Want: "number=-9223372036854775808", Calls: 1},
	{Name: "text with a zero, quotes and line ends survives", Unary: echoes, Requests: with(&request{Text: "a\x00\"b\"\r\n\\<&>\u2028"}), Want: fmt.Sprintf("text=%q", "a\x00\"b\"\r\n\\<&>\u2028"), Calls: 1},
	{Name: "a nil response is an empty message", Unary: fails(nil), Want: `{text="" number=0 data=0 list=[]}`, Calls: 1},
	{Name: "a message of 100 kB passes", Unary: echoes, Requests: with(&request{Data: make([]byte, 100_000)}), Want: "data=100000", Calls: 1},
	{Name: "a message of 3 MiB passes", Unary: echoes, Context: timeout(2 * time.Minute), Requests: with(&request{Data: make([]byte, 3<<20)}), Want: "data=3145728", Calls: 1,
		Except: []Exception{{JSON, "base64 makes it 4 MiB and some, which is over the limit; the handler is not called", "code=resource_exhausted", 0}}},
	{Name: "a request above 4 MiB is refused", Unary: echoes, Context: timeout(2 * time.Minute), Requests: with(&request{Data: make([]byte, 5<<20)}), Want: "code=resource_exhausted", AnyText: true},
	{Name: "a response above 4 MiB is refused", Unary: gives(&response{Data: make([]byte, 5<<20)}, nil), Context: timeout(2 * time.Minute), Want: "code=resource_exhausted", Calls: 1, AnyText: true},
	{Name: "text that is not UTF-8 is refused at the caller", Unary: echoes, Requests: with(&request{Text: notUTF8}), Want: "code=internal", AnyText: true},
	{Name: "text that is not UTF-8 is refused at the handler", Unary: gives(&response{Text: notUTF8}, nil), Want: "code=internal", Calls: 1, AnyText: true},
	{Name: "a handler's change of its request does not reach the caller", Unary: func(_ context.Context, r *request) (*response, error) {
		r.List[0], r.Text = "changed", "changed"
		return &response{}, nil
	}, Requests: with(&request{Text: "mine", List: []string{"mine"}}), Want: `{text=""`, Calls: 1},
}

// failures are rows of every code and of every kind of error.
func failures() []Case {
	var rows []Case
	for code := connect.CodeCanceled; code <= connect.CodeUnauthenticated; code++ {
		rows = append(rows, Case{Name: "the code " + code.String() + " arrives with its message", Unary: fails(connect.NewError(code, "because")),
			Want: `code=` + code.String() + ` message="because"`, Here: "remote=true", Calls: 1})
	}
	return append(rows, []Case{
		{Name: "a response with an error is the error", Unary: gives(&response{Text: "both"}, connect.NewError(connect.CodeAborted, "no")), Want: `code=aborted message="no"`, Calls: 1},
		{Name: "an error without a message has none", Unary: fails(connect.NewError(connect.CodeAborted, "")), Want: `code=aborted message=""`, Calls: 1},
		{Name: "a coded error keeps its details", Unary: fails(connect.NewError(connect.CodeUnavailable, "later").WithDetail(retryInfo())), Want: "detail=google.rpc.RetryInfo", Calls: 1},
		{Name: "several details keep their order", Unary: fails(connect.NewError(connect.CodeAborted, "x").WithDetail(detail(&errdetails.ErrorInfo{Reason: "A"})).WithDetail(retryInfo()).WithDetail(detail(&errdetails.ErrorInfo{Reason: "B"}))), Want: "code=aborted detail=google.rpc.ErrorInfo:0a0141 detail=google.rpc.RetryInfo:0a020801 detail=google.rpc.ErrorInfo:0a0142", Calls: 1},
		{Name: "a wrapped coded error is the coded error", Unary: fails(fmt.Errorf("secret: %w", connect.NewError(connect.CodeAborted, "again"))), Want: `code=aborted message="again"`, Calls: 1},
		{Name: "a message with odd characters survives", Unary: fails(connect.NewError(connect.CodeNotFound, "\"q\" é\n\t<b>%20")), Want: fmt.Sprintf("message=%q", "\"q\" é\n\t<b>%20"), Calls: 1},
		{Name: "a long message survives", Unary: fails(connect.NewError(connect.CodeNotFound, fmt.Sprintf("%04000d", 7))), Want: `0007"`, Calls: 1},
		{Name: "a cause is stripped", Unary: fails(connect.NewError(connect.CodeDataLoss, "sorry").WithCause(errSentinel)), Want: `message="sorry"`, Here: "sentinel=false", Calls: 1},
		{Name: "a plain error is unknown without text", Unary: fails(errors.New("password=1234")), Want: `code=unknown message=""`, Here: "remote=true", Calls: 1},
		{Name: "a neighbour's error is internal without text", Unary: fails(connect.NewError(connect.CodeNotFound, "theirs").WithRemote()), Want: `code=internal message=""`, Here: "remote=true", Calls: 1},
		{Name: "a neighbour's details go no further", Unary: fails(connect.NewError(connect.CodeNotFound, "theirs").WithDetail(retryInfo()).WithRemote()), Want: `code=internal message=""`, Calls: 1},
		{Name: "a canceled error of the handler's own is canceled", Unary: fails(fmt.Errorf("inner: %w", context.Canceled)), Want: `code=canceled message=""`, Here: "remote=true", Calls: 1},
		{Name: "a deadline error of the handler's own is deadline_exceeded", Unary: fails(context.DeadlineExceeded), Want: `code=deadline_exceeded message=""`, Here: "remote=true", Calls: 1},
		{Name: "a declared error is found by errors.Is", Unary: fails(errSentinel), Want: `message="ticket 7 is gone"`, Here: "remote=true canceled=false deadline=false sentinel=true", Calls: 1},
		{Name: "a wrapped declared error does not show what wraps it", Unary: fails(fmt.Errorf("read /var/secret: %w", errSentinel)), Want: `message="ticket 7 is gone"`, Here: "sentinel=true", Calls: 1},
		{Name: "a joined declared error is found", Unary: fails(errors.Join(errors.New("other"), errSentinel)), Want: `code=not_found`, Here: "sentinel=true", Calls: 1},
		{Name: "a declared error with data tells its own text", Unary: fails(&stateError{"PREPARING"}), Want: `message="not cancelable while PREPARING"`, Here: "notCancelable=true", Calls: 1},
		{Name: "an invalid field is named", Unary: fails(rpi.InvalidField("quantity", "must be positive")), Want: `message="quantity: must be positive"`, Calls: 1},
		{Name: "a refusal carries its reason", Unary: fails(rpi.Refuse(connect.CodeAborted, "NOT_YET", "not yet")), Want: "detail=google.rpc.ErrorInfo", Calls: 1},
		{Name: "a panic is internal without text", Unary: panics("secret"), Want: `code=internal message=""`, Here: "remote=true", Calls: 1},
		{Name: "a panic with an error is internal without text", Unary: panics(errSentinel), Want: `code=internal message=""`, Here: "sentinel=false", Calls: 1},
		{Name: "a service that is not there is unimplemented", Unary: echoes, Lost: true, Want: "code=unimplemented", AnyText: true},
	}...)
}

var deadlines = []Case{
	{Name: "a canceled context is not called", Unary: echoes, Context: canceled, Want: "code=canceled", AnyText: true},
	{Name: "an expired context is not called", Unary: echoes, Context: timeout(-time.Second), Want: "code=deadline_exceeded", AnyText: true},
	{Name: "a deadline ends a call whose handler ignores it", Unary: func(context.Context, *request) (*response, error) {
		time.Sleep(2 * time.Second)
		return nil, nil
	}, Context: timeout(500 * time.Millisecond), Want: "code=deadline_exceeded", Here: "deadline=true", Calls: 1, AnyText: true, Within: 1500 * time.Millisecond, Ends: true},
	{Name: "a handler's context ends at the caller's deadline", Unary: waits, Context: timeout(500 * time.Millisecond), Want: "code=deadline_exceeded", Calls: 1, AnyText: true, Within: 5 * time.Second, Ends: true},
	{Name: "a context that a handler derives ends at the caller's deadline", Unary: func(ctx context.Context, r *request) (*response, error) {
		ctx, cancel := context.WithTimeout(ctx, time.Hour)
		defer cancel()
		return waits(ctx, r)
	}, Context: timeout(500 * time.Millisecond), Want: "code=deadline_exceeded", Calls: 1, AnyText: true, Within: 5 * time.Second, Ends: true},
	{Name: "the handler sees the caller's deadline", Context: timeout(time.Minute), Unary: says(func(ctx context.Context, _ *connect.CallInfo) string {
		d, ok := ctx.Deadline()
		left := time.Until(d)
		return fmt.Sprint(ok, left > 20*time.Second, left <= 30*time.Second) // clamped to 30 s
	}), Want: `text="true true true"`, Calls: 1},
	{Name: "a call without a deadline gets one", Unary: says(func(ctx context.Context, _ *connect.CallInfo) string {
		d, ok := ctx.Deadline()
		return fmt.Sprint(ok, time.Until(d) < 10*time.Second)
	}), Want: `text="true true"`, Calls: 1, Except: []Exception{{Foreign, "its client sets none; the server's longest counts", `text="true false"`, 1}}},
	{Name: "a canceled caller does not wait", Context: canceledAfter(500 * time.Millisecond), Unary: waits, Want: "code=canceled", Here: "canceled=true", Calls: 1, AnyText: true, Within: 5 * time.Second, Ends: true},
	{Name: "a canceled caller does not wait for a handler that ignores it", Context: canceledAfter(200 * time.Millisecond), Unary: func(context.Context, *request) (*response, error) {
		time.Sleep(2 * time.Second)
		return nil, nil
	}, Want: "code=canceled", Calls: 1, AnyText: true, Within: 1500 * time.Millisecond, Ends: true},
	{Name: "a handler's context ends when it has returned", Unary: echoes, Want: `text=""`, Calls: 1, Ends: true},
	{Name: "a handler's context ends when it has panicked", Unary: panics("secret"), Want: "code=internal", Calls: 1, Ends: true},
	{Name: "context values stay with the caller", Context: withValue, Unary: says(func(ctx context.Context, _ *connect.CallInfo) string { return fmt.Sprint(ctx.Value(ctxKey{})) }), Want: `text="<nil>"`, Calls: 1},
}

var metadata = []Case{
	{Name: "request headers arrive", Header: map[string][]string{"X-Tenant": {"north"}}, Unary: says(func(_ context.Context, info *connect.CallInfo) string {
		return info.RequestHeader().Get("x-tenant")
	}), Want: `text="north"`, Calls: 1},
	{Name: "a request header's values keep their order", Header: map[string][]string{"X-Tenant": {"north", "south", "north"}}, Unary: says(func(_ context.Context, info *connect.CallInfo) string {
		return fmt.Sprint(info.RequestHeader().Values("X-TENANT"))
	}), Want: `text="[north south north]"`, Calls: 1},
	{Name: "a binary header arrives", Header: map[string][]string{"X-Key-Bin": {connect.EncodeBinaryHeader([]byte{0, 1, 254, 255})}}, Unary: says(func(_ context.Context, info *connect.CallInfo) string {
		data, err := connect.DecodeBinaryHeader(info.RequestHeader().Get("X-Key-Bin"))
		return fmt.Sprint(data, err)
	}), Want: `text="[0 1 254 255] <nil>"`, Calls: 1},
	{Name: "response headers and trailers arrive", Unary: tells(nil), Want: `[X-Head[h]][X-Tail[t]]`, Calls: 1},
	{Name: "a response header's values keep their order", Unary: says(func(_ context.Context, info *connect.CallInfo) string {
		info.ResponseHeader().SetValues("X-Head", []string{"b", "a", "b"})
		info.ResponseTrailer().SetValues("X-Tail", []string{"2", "1"})
		return ""
	}), Want: `[X-Head[b a b]][X-Tail[2 1]]`, Calls: 1},
	{Name: "response headers and trailers arrive with an error", Unary: tells(connect.NewError(connect.CodeAborted, "no")), Want: `code=aborted message="no" [X-Head[h]][X-Tail[t]]`, Calls: 1,
		Except: []Exception{{GRPC | GRPCWeb, "an error without a message is one block of metadata", "X-Tail[t]", 1}}},
	{Name: "a header that cannot be sent is refused", Header: map[string][]string{"X-Bad": {"a\nb"}}, Unary: echoes, Want: "code=unavailable", AnyText: true,
		Except: []Exception{{Foreign, "its client has a code of its own for it", "code=internal", 0}}},
	{Name: "a handler's own client metadata is not the caller's", Header: map[string][]string{"X-Tenant": {"north"}}, Unary: says(func(ctx context.Context, _ *connect.CallInfo) string {
		_, ok := connect.CallInfoForClientContext(ctx)
		return fmt.Sprint(ok)
	}), Want: `text="false"`, Calls: 1},
	{Name: "the handler's change of a request header does not reach the caller", Header: map[string][]string{"X-Tenant": {"north"}}, Unary: says(func(_ context.Context, info *connect.CallInfo) string {
		info.RequestHeader().Values("X-Tenant")[0] = "changed"
		return ""
	}), Want: `[][]`, Calls: 1},
	{Name: "a trace goes on", Header: map[string][]string{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}, Unary: says(func(ctx context.Context, _ *connect.CallInfo) string {
		return correlation(ctx)
	}), Want: `text="0af7651916cd43dd8448eb211c80319c"`, Calls: 1},
	{Name: "a correlation goes on", Header: map[string][]string{rpi.CorrelationHeader: {"saga-7"}}, Unary: says(func(ctx context.Context, _ *connect.CallInfo) string {
		return correlation(ctx)
	}), Want: `text="saga-7"`, Calls: 1},
}
