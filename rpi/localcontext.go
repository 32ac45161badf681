package rpi

import (
	"context"
	"sync"
	"time"
)

// handlerContext is the context of a handler in the same process: it has the
// caller's deadline and ends with the call. The caller's values are not in it.
//
// Most handlers never wait for it nor derive another from it; those that do
// have it make a standard context, so that what they derive behaves, and
// costs, as it does on a server of net/http.
type handlerContext struct {
	until time.Time // zero: no deadline

	mu     sync.Mutex
	err    error           // while inner is nil
	inner  context.Context // nil until someone asks for Done
	cancel context.CancelFunc
}

func (c *handlerContext) Deadline() (time.Time, bool) { return c.until, !c.until.IsZero() }

func (c *handlerContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner != nil {
		return c.inner.Err()
	}
	return c.err
}

func (c *handlerContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		if c.until.IsZero() {
			c.inner, c.cancel = context.WithCancel(context.Background())
		} else {
			c.inner, c.cancel = context.WithDeadline(context.Background(), c.until)
		}
		if c.err != nil {
			c.cancel()
		}
	}
	return c.inner.Done()
}

// Value lets package context find the standard context beneath.
func (c *handlerContext) Value(key any) any {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		return nil
	}
	return c.inner.Value(key)
}

// end ends the context, unless it has ended before.
func (c *handlerContext) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.inner == nil && c.err == nil:
		c.err = err
	case c.inner != nil && err == context.Canceled: // at the deadline it ends by itself, and says so
		c.cancel()
	}
}
