package rpi

import (
	"errors"
	"reflect"
	"sync"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connectproto"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
)

// ErrorDef declares how one domain error crosses the wire.
type ErrorDef struct {
	Err    error // the sentinel that errors.Is finds on both sides
	Code   connect.Code
	Reason string // unique among those that meet: "ORDER_NOT_FOUND"
}

// ErrorSet is a set of declared domain errors. It is safe for concurrent use.
type ErrorSet struct {
	mu   sync.RWMutex
	defs []ErrorDef
}

// Errors returns the set of defs.
func Errors(defs ...ErrorDef) *ErrorSet {
	s := &ErrorSet{}
	s.Add(defs...)
	return s
}

// Add declares more errors. Of two that match, the one declared first counts.
func (s *ErrorSet) Add(defs ...ErrorDef) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.defs = append(s.defs, defs...)
}

func (s *ErrorSet) all() []ErrorDef {
	if s == nil {
		return nil
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.defs
}

// toWire returns err as the *connect.Error that callers see, err as its local
// cause. The text sent is that of the declared error found in err, without
// what wraps it. An undeclared error is returned as it is: a transport sends
// no text of it.
func (s *ErrorSet) toWire(err error) error {
	if e, ok := errors.AsType[*connect.Error](err); ok && e != nil {
		return err
	}
	for _, def := range s.all() {
		found := find(err, def.Err)
		if found == nil {
			continue
		}
		return withInfo(connect.NewError(def.Code, found.Error()), def.Reason, nil).WithCause(err)
	}
	return err
}

// fromWire returns err with the declared errors that it names as its cause.
func (s *ErrorSet) fromWire(err error) error {
	e, ok := errors.AsType[*connect.Error](err)
	if !ok || e == nil || !e.IsRemote() {
		return err
	}
	reason := ReasonOf(e)
	if reason == "" {
		return err
	}
	for _, def := range s.all() {
		if def.Reason == reason && !errors.Is(e, def.Err) {
			e = e.WithCause(def.Err)
		}
	}
	return e
}

// find returns the error in err's tree that is target or says so by an Is
// method.
func find(err, target error) error {
	if err == nil || target == nil {
		return nil
	}
	if same(err, target) {
		return err
	}
	switch u := err.(type) {
	case interface{ Unwrap() error }:
		return find(u.Unwrap(), target)
	case interface{ Unwrap() []error }:
		for _, e := range u.Unwrap() {
			if f := find(e, target); f != nil {
				return f
			}
		}
	}
	return nil
}

// same reports whether err itself, not what it wraps, is target.
func same(err, target error) bool {
	if reflect.TypeOf(err).Comparable() && err == target {
		return true
	}
	is, ok := err.(interface{ Is(error) bool })
	return ok && is.Is(target)
}

// withInfo returns e with a google.rpc.ErrorInfo.
func withInfo(e *connect.Error, reason string, metadata map[string]string) *connect.Error {
	return withDetail(e, &errdetails.ErrorInfo{Reason: reason, Metadata: metadata})
}

func withDetail(e *connect.Error, m proto.Message) *connect.Error {
	d, err := connectproto.NewErrorDetail(m)
	if err != nil { // a message of ours that does not marshal: the code still tells
		return e
	}
	return e.WithDetail(d)
}

// Refuse returns an error with a reason that callers can branch on, for which
// no sentinel is declared.
func Refuse(code connect.Code, reason, message string) error {
	return withInfo(connect.NewError(code, message), reason, nil)
}

// ReasonOf returns the reason that err carries, "" if none.
func ReasonOf(err error) string {
	info, ok := detail[*errdetails.ErrorInfo](err)
	if !ok {
		return ""
	}
	return info.GetReason()
}

// InvalidField returns an invalid_argument error that names the field and says
// what is wrong with it.
func InvalidField(field, reason string) error {
	return withDetail(connect.NewError(connect.CodeInvalidArgument, field+": "+reason), &errdetails.BadRequest{
		FieldViolations: []*errdetails.BadRequest_FieldViolation{{Field: field, Description: reason}},
	})
}

// FieldOf returns the field that an error made by InvalidField names.
func FieldOf(err error) (field string, ok bool) {
	bad, ok := detail[*errdetails.BadRequest](err)
	if !ok || len(bad.GetFieldViolations()) == 0 {
		return "", false
	}
	return bad.GetFieldViolations()[0].GetField(), true
}

// detail returns the first detail of type T that err carries.
func detail[T proto.Message](err error) (T, bool) {
	var none T
	e, ok := errors.AsType[*connect.Error](err)
	if !ok || e == nil {
		return none, false
	}
	want := string(none.ProtoReflect().Descriptor().FullName())
	for _, d := range e.Details() {
		if d.Type != want {
			continue
		}
		if m, err := connectproto.UnmarshalErrorDetail(d); err == nil {
			if t, ok := m.(T); ok {
				return t, true
			}
		}
	}
	return none, false
}
