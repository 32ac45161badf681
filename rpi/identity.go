package rpi

import (
	"context"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/event"
)

// builtin are the errors that every server and client knows.
var builtin = Errors(
	ErrorDef{Err: auth.ErrNoToken, Code: connect.CodeUnauthenticated, Reason: "NO_TOKEN"},
	ErrorDef{Err: auth.ErrInvalid, Code: connect.CodeUnauthenticated, Reason: "TOKEN_INVALID"},
	ErrorDef{Err: auth.ErrExpired, Code: connect.CodeUnauthenticated, Reason: "TOKEN_EXPIRED"},
	ErrorDef{Err: auth.ErrForbidden, Code: connect.CodePermissionDenied, Reason: "FORBIDDEN"},
	ErrorDef{Err: auth.ErrKeysUnavailable, Code: connect.CodeUnavailable, Reason: "KEYS_UNAVAILABLE"},
)

// identify verifies the caller's token before anything of the request is
// read. A caller without one is anonymous; one with a bad one is refused.
func (o ServerOptions) identify(next connect.ServerFunc) connect.ServerFunc {
	if o.Verifier == nil {
		return next
	}
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		info, ok := connect.CallInfoForServerContext(ctx)
		if !ok || !info.RequestHeader().Has("Authorization") {
			return next(ctx, spec, stream)
		}
		raw, err := auth.Bearer(info.RequestHeader().Get("Authorization"))
		if err != nil {
			return builtin.toWire(err)
		}
		p, err := o.Verifier.Verify(ctx, raw)
		if err != nil {
			return builtin.toWire(err)
		}
		m := event.MetaFrom(ctx)
		m.Actor = p.Subject
		return next(event.WithMeta(auth.With(ctx, p, raw), m), spec, stream)
	}
}
