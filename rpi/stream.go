package rpi

import (
	"context"
	"errors"
	"io"
	"sync"

	"connectrpc.com/connect/v2"
)

// chain is a transport behind client interceptors, the first outermost.
type chain struct{ open connect.ClientFunc }

func chained(t connect.ClientFunc, interceptors ...connect.ClientInterceptor) chain {
	for i := len(interceptors) - 1; i >= 0; i-- {
		if interceptors[i] != nil {
			t = interceptors[i](t)
		}
	}
	return chain{open: t}
}

// NewClientStream opens a stream through the chain.
func (c chain) NewClientStream(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
	if _, ok := connect.CallInfoForClientContext(ctx); !ok { // used beneath connect.Client
		ctx, _ = connect.NewClientContext(ctx)
	}
	return c.open(ctx, spec)
}

// watched is a client stream that reports how its call ended, once: on an
// error other than io.EOF, on the end of the stream, or on Close.
type watched struct {
	connect.ClientStream
	unary   bool
	once    sync.Once
	onEnd   func(error)
	first   sync.Once
	onFirst func() // at the first message received
}

func (w *watched) end(err error) {
	w.once.Do(func() {
		if w.onEnd != nil {
			w.onEnd(err)
		}
	})
}

func (w *watched) see(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return err
	}
	w.end(err)
	return err
}

func (w *watched) Send(msg any) error { return w.see(w.ClientStream.Send(msg)) }

func (w *watched) Receive(msg any) error {
	err := w.ClientStream.Receive(msg)
	if err == nil && w.onFirst != nil {
		w.first.Do(w.onFirst)
	}
	if (err == nil && w.unary) || errors.Is(err, io.EOF) {
		w.end(nil)
	}
	return w.see(err)
}

func (w *watched) Close() error {
	err := w.ClientStream.Close()
	w.end(nil)
	return err
}
