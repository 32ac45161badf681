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

// ending is how a call ended as its trailers say it.
type ending struct {
	code    int
	message string // escaped
	details string // encoded
}

func endingOf(err *connect.Error) (end ending) {
	if err == nil {
		return end
	}
	message := strings.ToValidUTF8(err.Message(), string(utf8.RuneError))
	end.code, end.message = int(err.Code()), escape(message)
	details := err.Details()
	if len(details) == 0 {
		return end
	}
	s := &status.Status{Code: int32(err.Code()), Message: message}
	for _, d := range details {
		s.Details = append(s.Details, &anypb.Any{TypeUrl: typePrefix + d.Type, Value: d.Value})
	}
	if data, failed := proto.Marshal(s); failed == nil {
		end.details = encodeBinary(data)
	}
	return end
}

func (e ending) size() int {
	return fieldSize("grpc-message", e.message) + fieldSize("grpc-status-details-bin", e.details)
}

// maxCutMessage is how much of a message is kept that does not fit.
const maxCutMessage = 1 << 10

// cut returns e without what makes it too large. That a call ended well cannot be
// said without its trailers.
func (e ending) cut() ending {
	if e.code == 0 {
		return endingOf(connect.NewError(connect.CodeResourceExhausted, "response trailers too large"))
	}
	if len(e.message) > maxCutMessage {
		e.message = e.message[:maxCutMessage]
		if i := strings.LastIndexByte(e.message, '%'); i > maxCutMessage-3 {
			e.message = e.message[:i] // half an escape
		}
	}
	return ending{code: e.code, message: e.message}
}

// appendStatus adds how a call ended.
func (e *encoder) appendStatus(b []byte, end ending) []byte {
	b = e.constant(b, "grpc-status", strconv.Itoa(end.code))
	if end.message != "" {
		b = e.once(b, "grpc-message", end.message)
	}
	if end.details != "" {
		b = e.once(b, "grpc-status-details-bin", end.details)
	}
	return b
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
