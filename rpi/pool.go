package rpi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// pool holds the connections to one instance. A request is sent once: on
// another connection only if nothing of it can have reached the instance.
type pool struct {
	addr   string
	opts   ConnOptions
	dialer *http.Transport

	origin time.Time
	heard  atomic.Int64  // when the instance said something last, since origin
	ended  chan struct{} // closed by close

	mu       sync.Mutex
	conns    map[*conn]bool
	free     []*conn // that take another call; the last is used first
	busy     int     // calls under way
	dialing  int
	waiting  []*waiter // for a connection, the first the longest
	closed   bool
	silent   bool        // the instance does not answer
	reaper   *time.Timer // nil: nothing to close for being idle
	watchdog *time.Timer // nil: nothing is waited for
}

// waiter is a request without a connection. It is given one or an error.
type waiter struct {
	got chan struct{} // closed when one of the others is set
	c   *conn
	err error
}

var (
	errPoolClosed = &unsentError{errors.New("the instance is gone")}
	errSilent     = &unsentError{errors.New("the instance does not answer")}
)

func newPool(addr string, o ConnOptions) *pool {
	o = o.withDefaults()
	return &pool{addr: addr, opts: o, dialer: o.dialer(), origin: time.Now(), ended: make(chan struct{}), conns: map[*conn]bool{}}
}

// RoundTrip sends r on a connection of its own or, over HTTP/2, one shared
// with others.
func (p *pool) RoundTrip(r *http.Request) (*http.Response, error) {
	for n := 1; ; n++ {
		c, err := p.get(r.Context())
		if err != nil {
			closeBody(r)
			return nil, err
		}
		res, err := c.roundTrip(r)
		if err == nil {
			return p.follow(c, res), nil
		}
		p.put(c)
		unsent, ok := err.(*unsentError) // roundTrip's own
		if ok && n < 3 && (c.most == 1 || leaving(unsent.err)) && r.Context().Err() == nil {
			if next, can := again(r); can {
				r = next
				continue
			}
		}
		closeBody(r)
		return nil, err
	}
}

// follow has c put back when the answer was read.
func (p *pool) follow(c *conn, res *http.Response) *http.Response {
	_, upgraded := res.Body.(io.Writer)
	switch {
	case upgraded: // the connection is the caller's now
		p.mu.Lock()
		p.busy--
		delete(p.conns, c)
		p.dialMore()
		p.mu.Unlock()
	case res.Body == http.NoBody:
		p.put(c)
	default:
		res.Body = &answer{ReadCloser: res.Body, p: p, c: c}
	}
	return res
}

// answer is the body of a response.
type answer struct {
	io.ReadCloser
	p    *pool
	once sync.Once
	c    *conn
}

func (a *answer) Read(b []byte) (int, error) {
	n, err := a.ReadCloser.Read(b)
	if err == nil {
		return n, nil
	}
	a.once.Do(a.end)
	if _, reset := errors.AsType[streamError](err); err == io.EOF || reset { // a body's end is io.EOF itself
		return n, err
	}
	return n, &lostError{err}
}

func (a *answer) Close() error {
	err := a.ReadCloser.Close()
	a.once.Do(a.end)
	return err
}

func (a *answer) end() { a.p.put(a.c) }

// get returns a connection that takes one more call.
func (p *pool) get(ctx context.Context) (*conn, error) {
	p.mu.Lock()
	if p.closed || p.silent {
		defer p.mu.Unlock()
		return nil, p.refusal()
	}
	if c := p.take(); c != nil {
		p.mu.Unlock()
		return c, nil
	}
	w := &waiter{got: make(chan struct{})}
	p.waiting = append(p.waiting, w)
	p.dialMore()
	p.mu.Unlock()
	select {
	case <-w.got:
		return w.c, w.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	if i := slices.Index(p.waiting, w); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
	p.mu.Unlock()
	if w.c != nil {
		p.put(w.c)
	}
	return nil, &unsentError{ctx.Err()}
}

// ready makes a connection unless there is a free one.
func (p *pool) ready(ctx context.Context) error {
	c, err := p.get(ctx)
	if err == nil {
		p.put(c)
	}
	return err
}

func (p *pool) refusal() error {
	if p.closed {
		return errPoolClosed
	}
	return errSilent
}

// take returns a free connection that is alive, nil if there is none.
func (p *pool) take() *conn {
	for n := len(p.free); n > 0; n = len(p.free) {
		c := p.free[n-1]
		if c.Available() == 0 || c.users == 0 && time.Since(c.unused) > p.opts.Idle {
			p.notFree(n - 1)
			p.leave(c)
			continue
		}
		if p.use(c); c.users == c.most {
			p.notFree(n - 1)
		}
		return c
	}
	return nil
}

// use begins a call on c.
func (p *pool) use(c *conn) {
	c.users++
	if p.busy++; p.busy == 1 {
		p.hear()
		p.watchFor(p.opts.Ping)
	}
}

func (p *pool) notFree(i int) {
	p.free[i].free = false
	p.free = slices.Delete(p.free, i, i+1)
}

// leave lets go of c, which takes no more calls. The last of those under way
// closes it.
func (p *pool) leave(c *conn) {
	if c.users == 0 {
		delete(p.conns, c)
		go c.Close() // it writes, and p.mu is held
	}
}

// put ends a call on c.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.users--
	p.busy--
	switch {
	case p.closed || c.Available() == 0:
		if c.free {
			p.notFree(slices.Index(p.free, c))
		}
		p.leave(c)
		p.dialMore()
	default:
		p.offer(c)
	}
}

// offer gives c to those who wait, or keeps it.
func (p *pool) offer(c *conn) {
	for len(p.waiting) > 0 && c.users < c.most {
		p.use(c)
		p.answer(c, nil)
	}
	if c.users == 0 {
		c.unused = time.Now()
		p.reapLater()
	}
	if c.users < c.most && !c.free {
		c.free = true
		p.free = append(p.free, c)
	}
}

// answer ends the longest wait.
func (p *pool) answer(c *conn, err error) {
	w := p.waiting[0]
	p.waiting = slices.Delete(p.waiting, 0, 1)
	w.c, w.err = c, err
	close(w.got)
}

// dialMore makes as many connections as those who wait need. Over HTTP/2 one
// after the other: the first may do for all.
func (p *pool) dialMore() {
	for !p.closed && !p.silent && len(p.conns)+p.dialing < p.opts.Max && p.dialing < len(p.waiting) && !(p.opts.HTTP2 && p.dialing > 0) {
		p.dialing++
		go p.connect()
	}
}

func (p *pool) connect() {
	ctx, cancel := context.WithTimeout(context.Background(), p.opts.Dial)
	defer cancel()
	c, err := p.dial(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing--
	switch {
	case err != nil && ctx.Err() != nil && p.busy == 0: // else those tell
		p.fallSilent()
	case err != nil:
		for n := len(p.waiting); n > 0 && (p.opts.HTTP2 || n == len(p.waiting)); n-- {
			p.answer(nil, err)
		}
	case p.closed || p.silent:
		go c.Close() // it writes, and p.mu is held
	default:
		p.conns[c] = true
		p.offer(c)
	}
	p.dialMore()
}

// dial makes a connection.
func (p *pool) dial(ctx context.Context) (*conn, error) {
	c := &conn{most: 1, heard: p.hear}
	cc, err := p.dialer.NewClientConn(context.WithValue(ctx, connKey{}, c), p.opts.scheme(), p.addr)
	if err != nil {
		return nil, &unsentError{fmt.Errorf("connect to %s: %w", p.addr, err)}
	}
	if c.ClientConn = cc; cc.Available() > 1 {
		c.most = perHTTP2
	}
	return c, nil
}

// reapLater has connections closed that stay unused.
func (p *pool) reapLater() {
	if p.reaper == nil {
		p.reaper = time.AfterFunc(p.opts.Idle, p.reap)
	}
}

func (p *pool) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaper = nil
	for i := len(p.free) - 1; i >= 0; i-- {
		c := p.free[i]
		if c.users > 0 {
			continue
		}
		if c.Available() == 0 || time.Since(c.unused) >= p.opts.Idle {
			p.notFree(i)
			p.leave(c)
		} else {
			p.reapLater()
		}
	}
}

// close lets go of all connections: at once of those that no call uses, of the
// others when their calls end. Who waits for one is told.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.closed = true
	close(p.ended)
	for i := len(p.free) - 1; i >= 0; i-- {
		c := p.free[i]
		p.notFree(i)
		p.leave(c)
	}
	for len(p.waiting) > 0 {
		p.answer(nil, errPoolClosed)
	}
	for _, t := range []*time.Timer{p.reaper, p.watchdog} {
		if t != nil {
			t.Stop()
		}
	}
}
