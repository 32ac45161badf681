package rpi

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// An instance that hangs, or is beyond a network that drops everything, closes
// no connection. So one that says nothing for a while during calls has to
// answer a question. It is put on a connection of its own, because an answer
// over HTTP/1.1 may rightly take long. Without a bound on how long one may take,
// slow calls are not cut off, and streams may be silent.

// hear notes that the instance said something.
func (p *pool) hear() { p.heard.Store(int64(time.Since(p.origin))) }

func (p *pool) watchFor(d time.Duration) {
	if p.watchdog == nil && !p.closed {
		p.watchdog = time.AfterFunc(d, p.watch)
	}
}

// watch asks the instance whether it is there if it was silent for too long.
func (p *pool) watch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watchdog = nil
	if p.busy == 0 || p.silent || p.closed {
		return
	}
	silence := time.Since(p.origin) - time.Duration(p.heard.Load())
	if silence >= p.opts.Ping {
		silence = 0
		p.mu.Unlock()
		there := p.probe()
		p.mu.Lock()
		if !there {
			p.fallSilent()
			return
		}
	}
	p.watchFor(p.opts.Ping - silence)
}

// probe reports whether the instance answers anything at all, if only by
// closing the connection.
func (p *pool) probe() bool {
	ctx, cancel := context.WithTimeout(context.Background(), p.opts.Pong)
	defer cancel()
	c, err := p.dial(ctx)
	if err != nil {
		return false
	}
	defer c.Close() // it has served its purpose
	u := &url.URL{Scheme: p.opts.scheme(), Host: p.addr, Opaque: "*"}
	res, err := c.ClientConn.RoundTrip((&http.Request{Method: http.MethodOptions, URL: u, Host: p.addr, Header: http.Header{}}).WithContext(ctx))
	if err == nil {
		res.Body.Close() // the status is enough, whatever it is
	}
	return ctx.Err() == nil
}

// fallSilent ends all calls under way and takes none until the instance
// answers.
func (p *pool) fallSilent() {
	if p.silent || p.closed {
		return
	}
	p.silent = true
	p.free = nil
	for c := range p.conns {
		c.free = false
		if p.leave(c); c.users > 0 {
			go c.Close() // it writes, and p.mu is held
		}
	}
	for len(p.waiting) > 0 {
		p.answer(nil, errSilent)
	}
	go p.listen()
}

// listen asks until the instance answers or the pool is closed.
func (p *pool) listen() {
	pause := time.NewTicker(min(p.opts.Pong, time.Second))
	defer pause.Stop()
	for {
		select {
		case <-p.ended:
			return
		case <-pause.C:
		}
		if p.probe() {
			p.mu.Lock()
			p.silent = false
			p.mu.Unlock()
			return
		}
	}
}
