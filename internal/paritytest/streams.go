package paritytest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/event"
)

func correlation(ctx context.Context) string { return event.MetaFrom(ctx).Correlation }

type down = func(context.Context, *request, func(*response) error) error

// counts sends 1 to n, then ends with err.
func counts(n int64, err error) down {
	return func(_ context.Context, _ *request, send func(*response) error) error {
		for i := int64(1); i <= n; i++ {
			if err := send(&response{Number: i}); err != nil {
				return err
			}
		}
		return err
	}
}

var streamsDown = []Case{
	{Name: "answers of a stream arrive in order", Down: counts(3, nil), Want: "number=1 data=0 list=[]}{text=\"\" number=2 data=0 list=[]}{text=\"\" number=3", Calls: 1, Ends: true},
	{Name: "a stream without answers ends well", Down: counts(0, nil), Want: " ", Calls: 1},
	{Name: "a thousand answers arrive", Down: counts(1000, nil), Want: "number=1000 ", Calls: 1},
	{Name: "the request of a stream arrives", Down: func(_ context.Context, r *request, send func(*response) error) error {
		return send(&response{Text: r.GetText(), List: r.GetList()})
	}, Requests: with(&request{Text: "ask", List: []string{"a", "b"}}), Want: `{text="ask" number=0 data=0 list=["a" "b"]}`, Calls: 1},
	{Name: "an error after answers comes after them", Down: counts(2, connect.NewError(connect.CodeAborted, "no more").WithDetail(retryInfo())), Want: `number=2 data=0 list=[]} code=aborted detail=google.rpc.RetryInfo:0a020801 message="no more"`, Here: "remote=true", Calls: 1},
	{Name: "an error instead of answers arrives", Down: counts(0, connect.NewError(connect.CodeNotFound, "none")), Want: `code=not_found message="none"`, Here: "remote=true", Calls: 1},
	{Name: "a plain error of a stream is unknown without text", Down: counts(1, errors.New("password=1234")), Want: `code=unknown message=""`, Calls: 1},
	{Name: "a declared error of a stream is found by errors.Is", Down: counts(1, fmt.Errorf("x: %w", errSentinel)), Want: `message="ticket 7 is gone"`, Here: "sentinel=true", Calls: 1},
	{Name: "a cause of a stream's error is stripped", Down: counts(1, connect.NewError(connect.CodeDataLoss, "sorry").WithCause(errSentinel)), Want: `message="sorry"`, Here: "sentinel=false", Calls: 1},
	{Name: "a panic in a stream is internal without text", Down: func(_ context.Context, _ *request, send func(*response) error) error {
		_ = send(&response{Number: 1})
		panic("secret")
	}, Want: `number=1 data=0 list=[]} code=internal message=""`, Here: "remote=true", Calls: 1},
	{Name: "headers and trailers of a stream arrive", Down: func(ctx context.Context, r *request, send func(*response) error) error {
		mark(ctx)
		return counts(1, nil)(ctx, r, send)
	}, Want: "[X-Head[h]][X-Tail[t]]", Calls: 1},
	{Name: "headers and trailers of a stream arrive with an error", Down: func(ctx context.Context, r *request, send func(*response) error) error {
		mark(ctx)
		return counts(1, connect.NewError(connect.CodeAborted, "no"))(ctx, r, send)
	}, Want: `code=aborted message="no" [X-Head[h]][X-Tail[t]]`, Calls: 1},
	{Name: "a header that is set after an answer is lost", Down: func(ctx context.Context, r *request, send func(*response) error) error {
		err := counts(1, nil)(ctx, r, send)
		info, _ := connect.CallInfoForServerContext(ctx)
		info.ResponseHeader().Set("X-Late", "h")
		return err
	}, Want: "[][]", Calls: 1},
	{Name: "an answer above 4 MiB ends a stream", Context: timeout(2 * time.Minute), Down: func(_ context.Context, _ *request, send func(*response) error) error {
		if err := send(&response{Number: 1}); err != nil {
			return err
		}
		return send(&response{Data: make([]byte, 5<<20)})
	}, Want: "list=[]} code=resource_exhausted", Calls: 1, AnyText: true},
	{Name: "an answer that is not UTF-8 ends a stream", Down: func(_ context.Context, _ *request, send func(*response) error) error {
		return send(&response{Text: notUTF8})
	}, Want: "code=internal", Calls: 1, AnyText: true},
	{Name: "a deadline ends a stream whose handler ignores it", Context: timeout(500 * time.Millisecond), Down: func(_ context.Context, _ *request, send func(*response) error) error {
		err := send(&response{Number: 1})
		time.Sleep(2 * time.Second)
		return err
	}, Want: "number=1 data=0 list=[]} code=deadline_exceeded", Here: "deadline=true", Calls: 1, AnyText: true, Within: 1500 * time.Millisecond, Ends: true},
	{Name: "a canceled context opens no stream", Context: canceled, Down: counts(1, nil), Want: "code=canceled", AnyText: true},
	{Name: "a stream has no deadline unless its caller sets one", Down: func(ctx context.Context, _ *request, send func(*response) error) error {
		_, ok := ctx.Deadline()
		return send(&response{Text: fmt.Sprint(ok)})
	}, Want: `text="false"`, Calls: 1},
	{Name: "a caller that closes a stream ends its handler", Most: 2, Down: func(ctx context.Context, r *request, send func(*response) error) error {
		for i := int64(1); ; i++ {
			if err := send(&response{Number: i}); err != nil {
				return err
			}
		}
	}, Want: "number=2 ", Calls: 1, Ends: true},
	{Name: "context values stay with the caller of a stream", Context: withValue, Down: func(ctx context.Context, _ *request, send func(*response) error) error {
		return send(&response{Text: fmt.Sprint(ctx.Value(ctxKey{}))})
	}, Want: `text="<nil>"`, Calls: 1},
}

// adds returns the sum of what it receives.
func adds(_ context.Context, receive func() (*request, error)) (*response, error) {
	res := &response{}
	for {
		r, err := receive()
		if errors.Is(err, io.EOF) {
			return res, nil
		}
		if err != nil {
			return nil, err
		}
		res.Number += r.GetNumber()
		res.List = append(res.List, r.GetText())
	}
}

var three = []*request{{Number: 1, Text: "a"}, {Number: 2, Text: "b"}, {Number: 3, Text: "c"}}

var streamsUp = []Case{
	{Name: "requests of a stream arrive in order", Up: adds, Requests: three, Want: `{text="" number=6 data=0 list=["a" "b" "c"]}`, Calls: 1, Ends: true},
	{Name: "a stream without requests is answered", Up: adds, Requests: []*request{}, Want: `{text="" number=0 data=0 list=[]}`, Calls: 1},
	{Name: "a handler may answer before it has received all", Up: func(_ context.Context, receive func() (*request, error)) (*response, error) {
		r, err := receive()
		return &response{Number: r.GetNumber()}, err
	}, Requests: three, Want: "number=1 ", Calls: 1},
	{Name: "a handler may refuse before it has received all", Up: func(context.Context, func() (*request, error)) (*response, error) {
		return nil, connect.NewError(connect.CodeAborted, "no").WithDetail(retryInfo())
	}, Requests: three, Want: `code=aborted detail=google.rpc.RetryInfo:0a020801 message="no"`, Here: "remote=true", Calls: 1},
	{Name: "a nil response to a stream is an empty message", Up: func(context.Context, func() (*request, error)) (*response, error) { return nil, nil }, Requests: three, Want: `{text="" number=0`, Calls: 1},
	{Name: "a request above 4 MiB is refused within a stream", Context: timeout(2 * time.Minute), Up: adds, Requests: []*request{{Number: 1}, {Data: make([]byte, 5<<20)}}, Want: "code=resource_exhausted", Calls: 1, AnyText: true},
	{Name: "a request that is not UTF-8 is refused within a stream", Up: adds, Requests: []*request{{Number: 1}, {Text: notUTF8}}, Want: "code=internal", Calls: Any, AnyText: true},
	{Name: "a panic of the receiver is internal without text", Up: func(context.Context, func() (*request, error)) (*response, error) { panic("secret") }, Requests: three, Want: `code=internal message=""`, Here: "remote=true", Calls: 1},
	{Name: "metadata of a stream of requests goes both ways", Header: map[string][]string{"X-Tenant": {"north"}}, Up: func(ctx context.Context, _ func() (*request, error)) (*response, error) {
		mark(ctx)
		info, _ := connect.CallInfoForServerContext(ctx)
		return &response{Text: info.RequestHeader().Get("X-Tenant")}, nil
	}, Requests: three, Want: `{text="north" number=0 data=0 list=[]}  [X-Head[h]][X-Tail[t]]`, Calls: 1},
	{Name: "a deadline ends a call whose receiver ignores it", Context: timeout(500 * time.Millisecond), Up: func(context.Context, func() (*request, error)) (*response, error) {
		time.Sleep(2 * time.Second)
		return nil, nil
	}, Requests: three, Want: "code=deadline_exceeded", Calls: 1, AnyText: true, Within: 1500 * time.Millisecond, Ends: true},
	{Name: "a canceled context sends no stream", Context: canceled, Up: adds, Requests: three, Want: "code=canceled", AnyText: true},
}
