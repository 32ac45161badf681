package rpi

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"connectrpc.com/connect/v2"
)

// Tries must not multiply from layer to layer: three layers of three would be
// 27 requests to the last. So a call is repeated in one place only, next to
// where it fails. Down the line, a request that was sent before is marked: calls
// made while serving it are not repeated. Up the line, an answer says not to
// repeat if calls made for it were repeated in vain.
const (
	attemptHeader = "Cleave-Attempt"
	// pushbackHeader is gRPC's: milliseconds to wait, negative for never.
	pushbackHeader = "Grpc-Retry-Pushback-Ms"
)

// serving is the context of a request being served.
type serving struct {
	context.Context
	repeated bool        // the request was sent before
	gaveUp   atomic.Bool // a call made for it failed, and to repeat it is no use
}

type servingKey struct{}

func (s *serving) Value(key any) any {
	if key == (servingKey{}) {
		return s
	}
	return s.Context.Value(key)
}

func servingOf(ctx context.Context) *serving {
	s, _ := ctx.Value(servingKey{}).(*serving)
	return s
}

// repeated reports whether ctx serves a request that was sent before.
func repeated(ctx context.Context) bool {
	s := servingOf(ctx)
	return s != nil && s.repeated
}

// giveUp notes that a call made in ctx failed for good.
func giveUp(ctx context.Context) {
	if s := servingOf(ctx); s != nil {
		s.gaveUp.Store(true)
	}
}

func (o ServerOptions) attempt(next connect.ServerFunc) connect.ServerFunc {
	return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
		info, ok := connect.CallInfoForServerContext(ctx)
		if !ok {
			return next(ctx, spec, stream)
		}
		s := &serving{Context: ctx, repeated: field(info.RequestHeader(), attemptHeader) != ""}
		err := next(s, spec, stream)
		if err != nil && s.gaveUp.Load() && !info.ResponseTrailer().Has(pushbackHeader) {
			Pushback(ctx, -1)
		}
		return err
	}
}

// Pushback tells the caller of the request that ctx serves when it may repeat
// it if it fails: not before d, never if d is negative.
func Pushback(ctx context.Context, d time.Duration) {
	if info, ok := connect.CallInfoForServerContext(ctx); ok {
		ms := int64(-1)
		if d >= 0 {
			ms = (d + time.Millisecond - 1).Milliseconds()
		}
		info.ResponseTrailer().Set(pushbackHeader, strconv.FormatInt(ms, 10))
	}
}

// pushedBack returns what the server of a failed call said by Pushback: how long
// to wait, negative for never.
func pushedBack(info *connect.CallInfo) time.Duration {
	return parsePushback(info.ResponseTrailer().Get(pushbackHeader))
}

func parsePushback(text string) time.Duration {
	if text == "" {
		return 0
	}
	ms, err := strconv.ParseInt(text, 10, 32)
	if err != nil || ms < 0 { // as gRPC has it
		return -1
	}
	return time.Duration(ms) * time.Millisecond
}
