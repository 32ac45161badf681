package router

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cleave-go/cleave/discovery"
)

// front is the listener of one service.
type front struct {
	r        *Router
	service  string
	bound    Bound
	listener net.Listener
	balancer *discovery.Balancer
	slots    chan struct{} // one per open connection
	known    chan struct{} // closed once the balancer had a snapshot
}

func (f *front) follow(ctx context.Context) {
	known := sync.OnceFunc(func() { close(f.known) })
	for snapshot, err := range f.r.resolver.Watch(ctx, f.service) {
		if err == nil {
			f.balancer.Update(snapshot)
			known()
		}
	}
}

func (f *front) accept(ctx context.Context) {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		select {
		case f.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		conn, err := f.listener.Accept()
		if err != nil {
			<-f.slots
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of file descriptors, most likely: what is open has to end first.
			f.r.opts.Logger.Error("accept", "service", f.service, "addr", f.bound.Addr, "error", err)
			pause(ctx, 50*time.Millisecond)
			continue
		}
		open.Go(func() {
			defer func() { <-f.slots }()
			f.serve(ctx, conn)
		})
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// duplex is what forwarding needs of a connection; *net.TCPConn has it.
type duplex interface {
	net.Conn
	CloseRead() error
	CloseWrite() error
}

func (f *front) serve(ctx context.Context, accepted net.Conn) {
	defer accepted.Close()
	client, ok := accepted.(duplex)
	if !ok {
		return
	}
	backend, picked, took := f.connect(ctx)
	if backend == nil {
		return
	}
	defer backend.Close()
	defer picked.Done(context.Canceled) // unless it answered, nothing was learnt
	defer context.AfterFunc(ctx, func() {
		client.Close()
		backend.Close()
	})()

	// The time to answer is that to connect and from the client's first byte to the instance's first.
	connected := time.Now()
	var asked atomic.Int64 // since connected
	var up sync.WaitGroup
	up.Go(func() {
		forward(backend, client, func(error) { asked.Store(int64(time.Since(connected))) })
	})
	forward(client, backend, func(err error) {
		if errors.Is(err, net.ErrClosed) { // by us: the client went away first
			return
		}
		picked.Answered(took+time.Since(connected)-time.Duration(asked.Load()), err)
	})
	up.Wait()
}

// connect tries instance after instance. It returns nil when none is left.
func (f *front) connect(ctx context.Context) (duplex, *discovery.Picked, time.Duration) {
	select {
	case <-f.known:
	case <-ctx.Done():
		return nil, nil, 0
	case <-time.After(time.Second):
		return nil, nil, 0
	}
	var tried []string
	for {
		picked, err := f.balancer.Pick(tried...)
		if err != nil {
			return nil, nil, 0
		}
		begin := time.Now()
		dialer := net.Dialer{Timeout: f.r.opts.DialTimeout}
		conn, err := dialer.DialContext(ctx, "tcp", picked.Instance.Addr)
		if err == nil {
			return conn.(*net.TCPConn), picked, time.Since(begin)
		}
		picked.Done(err)
		if ctx.Err() != nil {
			return nil, nil, 0
		}
		tried = append(tried, picked.Instance.ID)
	}
}

// forward copies until src ends and passes the end on. It calls first at the first byte, with nil, or
// with the error that came instead of one.
func forward(dst, src duplex, first func(error)) {
	buf := make([]byte, 4<<10)
	n, err := src.Read(buf)
	if n > 0 {
		first(nil)
		_, werr := dst.Write(buf[:n])
		if err == nil {
			err = werr
		}
	} else if err != nil && err != io.EOF {
		first(err)
	}
	if err == nil {
		_, err = io.Copy(dst, src) // moves the bytes inside the kernel where that is possible
	}
	if errors.Is(err, syscall.ECONNRESET) { // whichever side it was, its connection is gone
		dst.Close()
		src.Close()
		return
	}
	dst.CloseWrite()
	src.CloseRead()
}
