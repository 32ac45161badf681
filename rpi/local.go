package rpi

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/proto"
)

// MaxMessage is the size in bytes above which a message is refused, on both
// bindings.
const MaxMessage = 4 << 20

// LocalOptions tune Local. Nil means the defaults.
type LocalOptions struct {
	Call CallOptions
}

// Local returns a transport to s in the same process. What a caller and a
// handler can observe is what they would observe over the wire.
func Local(s *connect.Server, o *LocalOptions) connect.Transport {
	var opts LocalOptions
	if o != nil {
		opts = *o
	}
	l := local{server: s, timeout: opts.Call.timeout()}
	opts.Call.Timeout = -1 // a call's own timer is cheaper than a context's
	return chained(l.open, opts.Call.interceptor("local"))
}

type local struct {
	server  *connect.Server
	timeout time.Duration // of a unary call without a deadline. 0: none
}

func (l local) open(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	info, _ := connect.CallInfoForClientContext(ctx)
	info.Spec, info.Protocol, info.Codec = spec, protocolLocal, connect.CodecNameProto
	if spec.StreamType == connect.StreamTypeUnary {
		return newLocalCall(ctx, l, spec, info), nil
	}
	return newLocalStream(ctx, l.server, spec, info), nil
}

// protocolLocal is what CallInfo.Protocol says in the same process.
const protocolLocal = "local"

// serverInfo fills what a handler sees of its call.
func serverInfo(into *connect.CallInfo, spec connect.Spec, request *connect.Header) {
	into.Spec, into.Protocol, into.Codec = spec, protocolLocal, connect.CodecNameProto
	copyHeader(into.RequestHeader(), request)
}

// buffers are for messages on their way from one half to the other.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// mostKept bounds the size of a buffer that is kept.
const mostKept = 64 << 10

// recycle takes back what encode returned. A call that is given up leaves its
// buffers to the garbage collector.
func recycle(data *[]byte) {
	if cap(*data) <= mostKept {
		buffers.Put(data)
	}
}

// encode returns msg as bytes; a string that is not UTF-8 is an error, as on
// the wire.
func encode(msg any) (*[]byte, error) {
	m, ok := msg.(proto.Message)
	if !ok {
		return nil, connect.Errorf(connect.CodeInternal, "marshal message: %T is not a proto.Message", msg)
	}
	data := buffers.Get().(*[]byte)
	var err error
	if *data, err = (proto.MarshalOptions{}).MarshalAppend((*data)[:0], m); err != nil {
		return nil, connect.Errorf(connect.CodeInternal, "marshal message: %s", err).WithCause(err)
	}
	return data, nil
}

func decode(data []byte, dst any) error {
	m, ok := dst.(proto.Message)
	if !ok {
		return connect.Errorf(connect.CodeInternal, "unmarshal message: %T is not a proto.Message", dst)
	}
	if len(data) > MaxMessage {
		return connect.Errorf(connect.CodeResourceExhausted, "message size %d is larger than configured max %d", len(data), MaxMessage)
	}
	if err := proto.Unmarshal(data, m); err != nil {
		return connect.Errorf(connect.CodeInvalidArgument, "unmarshal message: %s", err).WithCause(err)
	}
	return nil
}

// asRemote returns a handler's error as its caller sees it over the wire:
// code, message and details of its own *connect.Error, nothing of any other.
func asRemote(err error) error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*connect.Error](err)
	switch {
	case ok && e == nil:
		return connect.NewError(connect.CodeUnknown, "").WithRemote()
	case !ok:
		return connect.NewError(codeOf(err), "").WithRemote()
	case e.IsRemote(): // a neighbour's verdict is not this server's
		return connect.NewError(connect.CodeInternal, "").WithRemote()
	}
	clean := connect.NewError(e.Code(), strings.ToValidUTF8(e.Message(), string(utf8.RuneError)))
	for _, d := range e.Details() {
		clean = clean.WithDetail(&connect.ErrorDetail{Type: d.Type, Value: d.Value})
	}
	return clean.WithRemote()
}

func codeOf(err error) connect.Code {
	switch {
	case errors.Is(err, context.Canceled):
		return connect.CodeCanceled
	case errors.Is(err, context.DeadlineExceeded):
		return connect.CodeDeadlineExceeded
	}
	return connect.CodeUnknown
}

// contextError is the local verdict on a call whose context has ended.
func contextError(err error) error {
	return connect.NewError(codeOf(err), err.Error()).WithCause(err)
}

func copyHeader(dst, src *connect.Header) {
	for k, v := range src.All() {
		dst.SetValues(k, slices.Clone(v))
	}
}

// checkHeader refuses what net/http would not send.
func checkHeader(h *connect.Header) error {
	for k, values := range h.All() {
		for _, v := range values {
			for i := range len(v) {
				if (v[i] < ' ' && v[i] != '\t') || v[i] == 0x7f {
					err := fmt.Errorf("net/http: invalid header field value for %q", k)
					return connect.NewError(connect.CodeUnavailable, err.Error()).WithCause(err)
				}
			}
		}
	}
	return nil
}
