package grpcwire

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"connectrpc.com/connect/v2"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

const typePrefix = "type.googleapis.com/"

// verdict returns a handler's error as its caller may see it: code, message
// and details of its own *connect.Error, nothing of any other.
func verdict(err error) *connect.Error {
	e, ok := errors.AsType[*connect.Error](err)
	switch {
	case ok && e == nil:
		return connect.NewError(connect.CodeUnknown, "")
	case !ok:
		return connect.NewError(codeOf(err), "")
	case e.IsRemote(): // a neighbour's verdict is not this server's
		return connect.NewError(connect.CodeInternal, "")
	}
	return e
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

// appendStatus adds how a call ended.
func (e *encoder) appendStatus(b []byte, err *connect.Error) []byte {
	if err == nil {
		return e.constant(b, "grpc-status", "0")
	}
	message := strings.ToValidUTF8(err.Message(), string(utf8.RuneError))
	b = e.constant(b, "grpc-status", strconv.Itoa(int(err.Code())))
	if message != "" {
		b = e.once(b, "grpc-message", escape(message))
	}
	details := err.Details()
	if len(details) == 0 {
		return b
	}
	s := &status.Status{Code: int32(err.Code()), Message: message}
	for _, d := range details {
		s.Details = append(s.Details, &anypb.Any{TypeUrl: typePrefix + d.Type, Value: d.Value})
	}
	data, failed := proto.Marshal(s)
	if failed != nil {
		return b
	}
	return e.once(b, "grpc-status-details-bin", encodeBinary(data))
}

// statusOf returns how the peer says that a call ended. The fields are those of
// its trailers.
func statusOf(code, message, details string) error {
	if code == "0" {
		return nil
	}
	n, err := strconv.ParseUint(code, 10, 32)
	if err != nil {
		return connect.Errorf(connect.CodeUnknown, "protocol error: invalid error code %q", code)
	}
	e := connect.NewError(connect.Code(n), unescape(message)).WithRemote()
	if details == "" {
		return e
	}
	data, err := connect.DecodeBinaryHeader(details)
	if err != nil {
		return connect.Errorf(connect.CodeInternal, "server returned invalid grpc-status-details-bin trailer: %s", err).WithCause(err)
	}
	var s status.Status
	if err := proto.Unmarshal(data, &s); err != nil {
		return connect.Errorf(connect.CodeInternal, "server returned invalid protobuf for error details: %s", err).WithCause(err)
	}
	e = connect.NewError(connect.Code(s.GetCode()), s.GetMessage()).WithRemote()
	for _, d := range s.GetDetails() {
		name := d.GetTypeUrl()
		e = e.WithDetail(&connect.ErrorDetail{Type: name[strings.LastIndexByte(name, '/')+1:], Value: d.GetValue()})
	}
	return e
}
