package grpcwire

import (
	"context"
	"sync"
	"time"
)

// callContext is the context of a call on the server. It arms no timer for the
// deadline before somebody waits for its end.
type callContext struct {
	deadline time.Time // zero: none

	mu     sync.Mutex
	inner  context.Context // of the standard library; nil before somebody waits
	cancel context.CancelFunc
	err    error // how it ended; nil while inner decides
}

func (c *callContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

func (c *callContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		if c.deadline.IsZero() {
			c.inner, c.cancel = context.WithCancel(context.Background())
		} else {
			c.inner, c.cancel = context.WithDeadline(context.Background(), c.deadline)
		}
		if c.err != nil {
			c.cancel()
		}
	}
	return c.inner.Done()
}

func (c *callContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if c.inner != nil {
		return c.inner.Err()
	}
	if !c.deadline.IsZero() && !time.Now().Before(c.deadline) {
		c.err = context.DeadlineExceeded
	}
	return c.err
}

// Value hands on what context.WithCancel looks for, so that children follow
// without a goroutine.
func (c *callContext) Value(key any) any {
	c.mu.Lock()
	inner := c.inner
	c.mu.Unlock()
	if inner == nil {
		return nil
	}
	return inner.Value(key)
}

// end cancels what hangs on the context.
func (c *callContext) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner != nil {
		if c.err == nil {
			c.err = c.inner.Err() // a deadline that has passed stays one
		}
		c.cancel()
	}
	if c.err == nil {
		c.err = context.Canceled
	}
}
