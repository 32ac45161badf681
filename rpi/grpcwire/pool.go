package grpcwire

import "sync/atomic"

// pool runs calls on goroutines that have run others, whose stacks have grown
// already.
type pool struct {
	work chan *serverStream
	idle atomic.Int32
	quit chan struct{}
}

// maxIdle bounds the goroutines that wait for the next call.
const maxIdle = 256

func newPool() *pool { return &pool{work: make(chan *serverStream), quit: make(chan struct{})} }

func (p *pool) run(st *serverStream) {
	select {
	case p.work <- st:
	default:
		go p.worker(st)
	}
}

func (p *pool) worker(st *serverStream) {
	for {
		st.run()
		if p.idle.Add(1) > maxIdle {
			p.idle.Add(-1)
			return
		}
		select {
		case st = <-p.work:
			p.idle.Add(-1)
		case <-p.quit:
			return
		}
	}
}

func (p *pool) close() { close(p.quit) }
