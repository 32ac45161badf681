package rpi

import (
	"context"

	"connectrpc.com/connect/v2"
)

// attemptHeader marks a request that was sent before: calls made while serving
// it are not repeated in turn, so that tries do not multiply from layer to
// layer.
const attemptHeader = "Cleave-Attempt"

type repeatedKey struct{}

// repeated reports whether ctx serves a request that was sent before.
func repeated(ctx context.Context) bool { return ctx.Value(repeatedKey{}) != nil }

func (o ServerOptions) attempt(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		if info, ok := connect.CallInfoForServerContext(ctx); ok && info.RequestHeader().Has(attemptHeader) {
			ctx = context.WithValue(ctx, repeatedKey{}, true)
		}
		return next(ctx, spec, stream)
	}
}
