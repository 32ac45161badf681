package grpcwire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect/v2"
)

// dial is a connection in the making. All who want one wait for it, and hear
// of its failure.
type dial struct {
	done chan struct{}
	err  error // once done
}

// Ready makes a connection unless there is one. Its errors have ErrUnprocessed
// as cause.
func (t *Transport) Ready(ctx context.Context) error {
	_, err := t.conn(ctx)
	return err
}

// conn returns a connection that takes calls.
func (t *Transport) conn(ctx context.Context) (*clientConn, error) {
	for {
		t.mu.Lock()
		c, d, err := t.current, t.dialing, t.refusal()
		if c == nil && d == nil && err == nil {
			d = &dial{done: make(chan struct{})}
			t.dialing = d
			go t.dial(d)
		}
		t.mu.Unlock()
		switch {
		case err != nil:
			return nil, unreached(err)
		case c != nil:
			return c, nil
		}
		select {
		case <-d.done:
			if d.err != nil {
				return nil, unreached(d.err)
			}
		case <-ctx.Done():
			return nil, connect.NewError(codeOf(ctx.Err()), ctx.Err().Error()).WithCause(fmt.Errorf("%w: %w", ErrUnprocessed, ctx.Err()))
		}
	}
}

var errTransportClosed = errors.New("transport closed")

// refusal says why no connection is made now; t is locked.
func (t *Transport) refusal() error {
	if t.closed {
		return errTransportClosed
	}
	return t.silent
}

// unreached is the error of a call for which there is no connection.
func unreached(err error) error {
	return connect.NewError(connect.CodeUnavailable, err.Error()).WithCause(fmt.Errorf("%w: %w", ErrUnprocessed, err))
}

// dial makes the connection that others wait for.
func (t *Transport) dial(d *dial) {
	c, err := t.connect()
	t.mu.Lock()
	t.dialing = nil
	t.take(c)
	t.mu.Unlock()
	if errors.Is(err, context.DeadlineExceeded) {
		t.fallSilent(err)
	}
	d.err = err
	close(d.done)
}

// take makes c the connection for new calls; t is locked.
func (t *Transport) take(c *clientConn) {
	switch {
	case c == nil:
		return
	case t.closed:
		go c.leave()
	default:
		t.current = c
	}
	t.proven = true
}

// retire lets no more calls begin on c.
func (t *Transport) retire(c *clientConn) {
	t.mu.Lock()
	if t.current == c {
		t.current = nil
	}
	t.mu.Unlock()
}

// fallSilent refuses calls until the server answers: each would wait in vain.
func (t *Transport) fallSilent(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.silent == nil && !t.closed {
		t.silent = err
		go t.listen()
	}
}

// listen asks once a second until there is an answer, be it that nobody is
// there.
func (t *Transport) listen() {
	pause := time.NewTicker(time.Second)
	defer pause.Stop()
	for {
		select {
		case <-t.ended:
			return
		case <-pause.C:
		}
		c, err := t.connect()
		if errors.Is(err, context.DeadlineExceeded) {
			continue
		}
		t.mu.Lock()
		t.silent = nil
		t.take(c)
		t.mu.Unlock()
		return
	}
}

func (t *Transport) connect() (*clientConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), t.opts.DialTimeout)
	defer cancel()
	nc, err := t.opts.Dial(ctx, t.addr)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		return nil, err
	}
	c := &clientConn{t: t, nextID: 1, ready: make(chan struct{})}
	c.conn = newConn(nc, c)
	c.out = append(c.out, preface...)
	c.out = appendSettings(c.out, setting{settingKin, 1}, setting{settingEnablePush, 0}, setting{settingInitialWindow, streamWindow},
		setting{settingMaxHeaderBytes, maxHeaders})
	c.out = appendUint32Frame(c.out, frameWindowUpdate, 0, connWindow-defaultWindow)
	go c.write()
	c.mu.Lock()
	c.release(false)
	go func() { _ = c.serve(nil) }() // failed is told
	go c.keepAlive(t.opts.Silence, t.opts.Pong)
	select { // the server's settings: how many calls it takes
	case <-c.ready:
		return c, nil
	case <-c.gone:
		select {
		case <-c.ready:
			return c, nil // whoever uses it sees
		default:
		}
		return nil, fmt.Errorf("%w: %w", ErrNotHTTP2, c.err)
	case <-ctx.Done():
		c.fail(ctx.Err())
		t.mu.Lock()
		defer t.mu.Unlock()
		if !t.proven {
			return nil, fmt.Errorf("%w: %w", ErrNotHTTP2, ctx.Err())
		}
		return nil, ctx.Err()
	}
}
