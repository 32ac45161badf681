package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// connection is what a listener knows of one of its connections.
type connection struct {
	busy  bool
	since time.Time   // in this state
	http2 atomic.Bool // it can be told to go without an answer
}

type connectionKey struct{}

// contextOf is asked once for each connection, before anything else.
func (l *listener) contextOf(ctx context.Context, c net.Conn) context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	known := &connection{since: time.Now()}
	l.open[c] = known
	return context.WithValue(ctx, connectionKey{}, known)
}

// follow knows which connections are open and since when they are idle.
func (l *listener) follow(c net.Conn, s http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s == http.StateClosed || s == http.StateHijacked {
		delete(l.open, c)
	} else if known := l.open[c]; known != nil {
		known.busy, known.since = s == http.StateActive, time.Now()
	}
}

// closeAnswered ends each connection with its next answer while draining: the
// client then knows, as it does not if an idle one is closed under it. Over
// HTTP/2 it becomes a GOAWAY.
func (l *listener) closeAnswered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor >= 2 {
			if c, ok := r.Context().Value(connectionKey{}).(*connection); ok && !c.http2.Load() {
				c.http2.Store(true)
			}
		}
		if l.closing.Load() {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// drain stops accepting, answers every connection once more and waits until
// all are closed, or for linger; then closes those left over as they become idle and
// waits for the calls under way, from the beginning on for grace or a second
// more than linger.
func (l *listener) drain(linger, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), max(grace, linger+time.Second))
	defer cancel()
	begin := time.Now()
	l.closing.Store(true)
	if l.own != nil {
		l.own.finish()
		within(linger, func() { <-l.served })
	} else { // whoever shares the socket has its queue
		time.Sleep(min(settle, linger))
	}
	l.socket.Close()
	// One may have been accepted a moment ago and not be known yet, and Shutdown
	// drops the requests of those it finds new.
	within(linger, func() { <-l.served })
	for l.waitsFor(linger/2) && time.Since(begin) < linger {
		time.Sleep(min(drainStep, linger/4))
	}
	if !l.shutdown(ctx) {
		l.server.Close()
		return fmt.Errorf("%s listener: calls under way did not end within %v", l.name, time.Since(begin).Round(time.Millisecond))
	}
	return nil
}

// shutdown sends GOAWAY to whoever is left and reports whether all calls have
// ended when it returns, as it does with ctx.
func (l *listener) shutdown(ctx context.Context) bool {
	fast := make(chan error, 1)
	go func() {
		if l.fast == nil {
			fast <- nil
			return
		}
		fast <- l.fast.Shutdown(ctx)
	}()
	err := l.server.Shutdown(ctx)
	return <-fast == nil && !errors.Is(err, context.DeadlineExceeded) // another error is of the socket, closed before
}

// drainStep is how often a listener that stops looks at its connections.
const drainStep = 20 * time.Millisecond

// waitsFor reports whether a connection is open whose client has to be told to
// go by an answer. One that was idle for longer than patience is hardly sent
// anything just now, and closed. HTTP/2 has GOAWAY, which Shutdown sends.
func (l *listener) waitsFor(patience time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	waits := false
	for c, known := range l.open {
		switch {
		case known.http2.Load():
		case !known.busy && time.Since(known.since) > patience:
			c.Close()
		default:
			waits = true
		}
	}
	return waits
}
