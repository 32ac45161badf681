package paritytest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

// Run makes each call of the table over each binding, and fails t where one is not what the table says, or
// two differ.
func Run(t *testing.T, bindings []Binding) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			var first *outcome
			outcomes := make([]outcome, len(bindings))
			atOnce := make(chan struct{}, 1)
			if c.Within > 0 { // it waits more than it works
				atOnce = make(chan struct{}, 3)
			}
			var done sync.WaitGroup
			for i, b := range bindings {
				atOnce <- struct{}{}
				done.Go(func() {
					defer func() { <-atOnce }()
					outcomes[i] = c.run(t, b)
				})
			}
			done.Wait()
			for i, b := range bindings {
				got := outcomes[i]
				want := c.expected(b)
				if !strings.Contains(got.String(), want.Want) {
					t.Errorf("%s:\n got %s\nwant %s", b.Name, got, want.Want)
				}
				if b.Traits&Foreign == 0 && !strings.Contains(got.here, c.Here) {
					t.Errorf("%s: the caller sees %s, want %s", b.Name, got.here, c.Here)
				}
				if want.Calls != Any && got.calls != want.Calls {
					t.Errorf("%s: the handler ran %d times, want %d", b.Name, got.calls, want.Calls)
				}
				if c.Within > 0 && got.took > c.Within {
					t.Errorf("%s: took %v, want at most %v", b.Name, got.took, c.Within)
				}
				switch {
				case want.Why != "": // declared to differ
				case first == nil:
					first = &got
				default:
					if d := c.difference(got, *first, b); d != "" {
						t.Errorf("%s differs from %s:\n%s", b.Name, bindings[0].Name, d)
					}
				}
			}
		})
	}
}

// Case is one row.
type Case struct {
	Name string

	// The handler: of a unary method, of a stream of answers, or of a stream of requests.
	Unary func(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error)
	Down  func(context.Context, *echoapi.EchoRequest, func(*echoapi.EchoResponse) error) error
	Up    func(context.Context, func() (*echoapi.EchoRequest, error)) (*echoapi.EchoResponse, error)

	// The call.
	Context  func(context.Context) (context.Context, context.CancelFunc)
	Requests []*echoapi.EchoRequest // default: one, an empty one
	Header   map[string][]string
	Most     int  // answers to take before the call is closed. 0: all
	Lost     bool // no such service is registered

	// What is to be observed.
	Want    string        // a part of the outcome
	Here    string        // a part of what only callers in Go with rpi can tell
	Calls   int64         // how often the handler ran; Any: that is up to chance
	AnyText bool          // the error may be the client's own or the server's, in words of its own
	Within  time.Duration // how long the call may take at most
	Ends    bool          // the handler's context ends
	Except  []Exception
}

// Any is a number of calls that is not looked at.
const Any = -1

// Exception is what is observed instead where a binding cannot do as the others.
type Exception struct {
	On    Trait // bindings with any of these
	Why   string
	Want  string
	Calls int64
}

// expected returns what is to be observed over b, with the reason if it is an exception.
func (c Case) expected(b Binding) Exception {
	for _, e := range c.Except {
		if b.Traits&e.On != 0 {
			return e
		}
	}
	return Exception{Want: c.Want, Calls: c.Calls}
}

// outcome is what caller and handler observe of one call.
type outcome struct {
	responses string
	failure   string // code, message and details
	text      string // the message
	metadata  string
	here      string // what only callers in Go with rpi can tell
	calls     int64
	took      time.Duration
}

func (o outcome) String() string {
	return strings.Join([]string{o.responses, o.failure + o.text, o.metadata, o.here}, " ")
}

func (c Case) difference(got, want outcome, b Binding) string {
	if c.AnyText {
		got.text, want.text = "", ""
	}
	if c.AnyText || b.Traits&Foreign != 0 {
		got.here, want.here = "", ""
	}
	if got.String() == want.String() {
		return ""
	}
	return fmt.Sprintf(" got %s\nwant %s", got, want)
}

func (c Case) run(t *testing.T, b Binding) outcome {
	t.Helper()
	h := &handler{c: c, ended: make(chan struct{})}
	server := rpi.NewServer(&rpi.ServerOptions{Errors: domainErrors, Logger: slog.New(slog.DiscardHandler)})
	if !c.Lost {
		echoapi.RegisterEchoServiceHandler(server, h)
	}
	exchange := b.exchange(t, server, rpi.CallOptions{Errors: domainErrors})
	ctx := context.Background()
	if c.Context != nil {
		var cancel context.CancelFunc
		ctx, cancel = c.Context(ctx)
		defer cancel()
	}
	method := "Echo"
	switch {
	case c.Down != nil:
		method = "CountUp"
	case c.Up != nil:
		method = "Sum"
	}
	before := c.Requests
	if before == nil {
		before = []*echoapi.EchoRequest{{}}
	}
	requests := make([]*echoapi.EchoRequest, len(before))
	for i, r := range before {
		requests[i] = proto.CloneOf(r)
	}
	most := c.Most
	if most == 0 {
		most = 1 << 20
	}
	begin := time.Now()
	header := copied(c.Header)
	a := exchange(ctx, method, header, requests, most)
	o := observe(a)
	o.took = time.Since(begin)
	if !maps.EqualFunc(header, copied(c.Header), slices.Equal) {
		t.Errorf("%s: the call changed its header", b.Name)
	}
	for i, r := range requests {
		if r.GetText() != notUTF8 && !proto.Equal(before[i], r) {
			t.Errorf("%s: the call changed its request", b.Name)
		}
	}
	if c.Ends {
		select {
		case <-h.ended:
		case <-time.After(10 * time.Second):
			t.Errorf("%s: the handler's context has not ended", b.Name)
		}
	}
	o.calls = h.calls.Load()
	return o
}

func copied(header map[string][]string) map[string][]string {
	c := map[string][]string{}
	for k, v := range header {
		c[k] = slices.Clone(v)
	}
	return c
}

func observe(a Answer) (o outcome) {
	for _, r := range a.Responses {
		o.responses += fmt.Sprintf("{text=%q number=%d data=%d list=%q}", r.GetText(), r.GetNumber(), len(r.GetData()), r.GetList())
	}
	if a.Err != nil {
		o.failure = "code=" + connect.CodeOf(a.Err).String()
		if e, ok := errors.AsType[*connect.Error](a.Err); ok {
			o.text = fmt.Sprintf(" message=%q", e.Message())
			o.here = fmt.Sprintf("remote=%v ", e.IsRemote())
			for _, d := range e.Details() {
				o.failure += fmt.Sprintf(" detail=%s:%x", d.Type, d.Value)
			}
		}
		o.here += fmt.Sprintf("canceled=%v deadline=%v sentinel=%v notCancelable=%v", errors.Is(a.Err, context.Canceled),
			errors.Is(a.Err, context.DeadlineExceeded), errors.Is(a.Err, errSentinel), errors.Is(a.Err, errNotCancelable))
	}
	for _, h := range []map[string][]string{a.Header, a.Trailer} {
		var kept []string
		for k, v := range h {
			if k = textproto.CanonicalMIMEHeaderKey(k); slices.Contains([]string{"X-Head", "X-Tail", "X-Late"}, k) {
				kept = append(kept, fmt.Sprint(k, v))
			}
		}
		slices.Sort(kept)
		o.metadata += fmt.Sprint(kept)
	}
	return o
}

// handler serves every method by what the row says.
type handler struct {
	echoapi.UnimplementedEchoServiceHandler
	c     Case
	calls atomic.Int64
	ended chan struct{}
}

func (h *handler) begin(ctx context.Context) {
	if h.calls.Add(1) == 1 {
		context.AfterFunc(ctx, func() { close(h.ended) })
	}
}

func (h *handler) Echo(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	h.begin(ctx)
	return h.c.Unary(ctx, r)
}

func (h *handler) Look(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return h.Echo(ctx, r)
}

func (h *handler) CountUp(ctx context.Context, r *echoapi.EchoRequest, s echoapi.EchoServiceCountUpServerStream) error {
	h.begin(ctx)
	return h.c.Down(ctx, r, s.Send)
}

func (h *handler) Sum(ctx context.Context, s echoapi.EchoServiceSumServerStream) (*echoapi.EchoResponse, error) {
	h.begin(ctx)
	return h.c.Up(ctx, s.Receive)
}
