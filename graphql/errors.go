package graphql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"connectrpc.com/connect/v2"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/cleave-go/cleave/rpi"
)

// Code is the value of an error's extensions.code.
type Code string

// The codes that clients meet.
const (
	Unauthenticated Code = "UNAUTHENTICATED"
	Forbidden       Code = "FORBIDDEN"
	BadUserInput    Code = "BAD_USER_INPUT"
	NotFound        Code = "NOT_FOUND"
	Conflict        Code = "CONFLICT"
	RateLimited     Code = "RATE_LIMITED"
	PayloadTooLarge Code = "PAYLOAD_TOO_LARGE"
	Unavailable     Code = "UNAVAILABLE"
	NotYet          Code = "NOT_YET"
	Internal        Code = "INTERNAL"
)

// Location is a place in the document, counted from 1.
type Location struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

// Error is one entry of a response's errors. A Go resolver may return one to
// choose what the client sees.
type Error struct {
	Message   string
	Locations []Location
	Path      []any // names and list positions down to the part that is missing
	Code      Code
	Reason    string // the service's own reason, such as ORDER_NOT_CANCELLABLE
	Field     string // of the input that is wrong: input.lineItems[0].quantity
	Service   string // that did not answer
	Retryable bool
	Elapsed   time.Duration // until the service had failed
	Cause     error         // for logs; never sent
}

// Errorf returns an Error whose message the client sees.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func badInput(field, format string, args ...any) *Error {
	return &Error{Code: BadUserInput, Field: field, Message: fmt.Sprintf(format, args...)}
}

// Error returns code and message.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// MarshalJSON writes the error as the GraphQL specification asks.
func (e *Error) MarshalJSON() ([]byte, error) {
	type extensions struct {
		Code      Code   `json:"code"`
		Reason    string `json:"reason,omitempty"`
		Field     string `json:"field,omitempty"`
		Service   string `json:"service,omitempty"`
		Retryable bool   `json:"retryable,omitempty"`
		ElapsedMS int64  `json:"elapsedMs,omitempty"`
	}
	return json.Marshal(struct {
		Message    string     `json:"message"`
		Locations  []Location `json:"locations,omitempty"`
		Path       []any      `json:"path,omitempty"`
		Extensions extensions `json:"extensions"`
	}{e.Message, e.Locations, e.Path, extensions{e.Code, e.Reason, e.Field, e.Service, e.Retryable, e.Elapsed.Milliseconds()}})
}

// toError turns what a call or a resolver returned into what a client may see.
func toError(err error) *Error {
	var own *Error
	if errors.As(err, &own) {
		e := *own
		e.Cause = err
		return &e
	}
	e := &Error{Cause: err}
	e.Code, e.Retryable = codeOf(err)
	e.Reason = rpi.ReasonOf(err)
	e.Field, _ = rpi.FieldOf(err)
	if e.Reason == string(NotYet) {
		e.Code, e.Retryable = NotYet, true
	}
	e.Message = publicMessage(err, e.Code)
	return e
}

// publicMessage is the service's own text where the caller can act on it, and
// a plain sentence otherwise.
func publicMessage(err error, code Code) string {
	var remote *connect.Error
	switch code {
	case Internal:
		return "internal error"
	case Unavailable:
		return "not available at the moment"
	}
	if errors.As(err, &remote) && remote.Message() != "" {
		return remote.Message()
	}
	return strings.ToLower(strings.ReplaceAll(string(code), "_", " "))
}

// codeOf maps a connect code to a client's code and whether trying again may help.
func codeOf(err error) (Code, bool) {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return Unavailable, true
	}
	switch connect.CodeOf(err) {
	case connect.CodeUnauthenticated:
		return Unauthenticated, false
	case connect.CodePermissionDenied:
		return Forbidden, false
	case connect.CodeInvalidArgument, connect.CodeOutOfRange:
		return BadUserInput, false
	case connect.CodeNotFound:
		return NotFound, false
	case connect.CodeAlreadyExists, connect.CodeFailedPrecondition:
		return Conflict, false
	case connect.CodeAborted:
		return Conflict, true
	case connect.CodeResourceExhausted:
		return RateLimited, true
	case connect.CodeUnavailable, connect.CodeDeadlineExceeded, connect.CodeCanceled:
		return Unavailable, true
	}
	return Internal, false
}

// fromParser turns the parser's and the validator's errors into ours.
func fromParser(list ...*gqlerror.Error) []*Error {
	out := make([]*Error, 0, min(len(list), maxRequestErrors))
	for _, g := range list[:min(len(list), maxRequestErrors)] {
		e := badInput("", "%s", g.Message)
		for _, l := range g.Locations {
			e.Locations = append(e.Locations, Location(l))
		}
		out = append(out, e)
	}
	return out
}

// maxRequestErrors bounds how many mistakes one answer lists.
const maxRequestErrors = 20
