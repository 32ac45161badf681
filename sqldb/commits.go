package sqldb

import (
	"context"
	"sync"
	"time"
)

// commits counts what was committed, here and by other processes, and wakes
// those who wait for more.
type commits struct {
	mu      sync.Mutex
	count   uint64
	waiting bool          // somebody holds changed
	changed chan struct{} // closed at the next commit

	// poller holds the connection that looks for foreign commits; who has
	// taken it out polls for everybody.
	poller chan *poller
	closed chan struct{}
}

// watcher notices what other connections commit.
type watcher interface {
	// moved reports whether another connection may have committed since the
	// last call.
	moved(ctx context.Context) (bool, error)
	close()
}

// poller asks a watcher while somebody waits: the less often the longer nothing
// has happened.
type poller struct {
	watcher
	first, most, pause time.Duration
}

// open begins with what w has seen so far.
func (c *commits) open(ctx context.Context, w watcher, first, most time.Duration) error {
	if _, err := w.moved(ctx); err != nil {
		w.close()
		return err
	}
	c.changed = make(chan struct{})
	c.closed = make(chan struct{})
	c.poller = make(chan *poller, 1)
	c.poller <- &poller{watcher: w, first: first, most: most, pause: first}
	return nil
}

func (c *commits) close() {
	close(c.closed)
	p := <-c.poller
	p.close()
}

func (c *commits) add() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	if c.waiting {
		close(c.changed)
		c.changed = make(chan struct{})
		c.waiting = false
	}
}

// since returns the count, and a channel to wait on if it is not above after.
func (c *commits) since(after uint64) (uint64, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count > after {
		return c.count, nil
	}
	c.waiting = true
	return c.count, c.changed
}

// Committed returns a number that rises with the commits AwaitCommit knows of.
func (db *DB) Committed() uint64 {
	n, _ := db.commits.since(0)
	return n
}

// AwaitCommit returns as soon as something was committed since Committed or
// AwaitCommit returned after: at once for this process's own commits, for
// another's within 50 ms on SQLite and within a second on PostgreSQL. Take the
// number before you read, and pass it when what you read was not enough: no
// commit is missed. It may return early, and then nothing new is there.
func (db *DB) AwaitCommit(ctx context.Context, after uint64) (uint64, error) {
	c := &db.commits
	for {
		n, changed := c.since(after)
		if changed == nil {
			return n, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return n, ctx.Err()
		case <-c.closed:
			return n, ErrClosed
		case p := <-c.poller:
			err := c.poll(ctx, p, changed)
			c.poller <- p
			if err != nil {
				return n, err
			}
		}
	}
}

// poll looks for foreign commits until it or somebody else has seen a commit.
func (c *commits) poll(ctx context.Context, p *poller, changed <-chan struct{}) error {
	timer := time.NewTimer(p.pause)
	defer timer.Stop()
	for {
		moved, err := p.moved(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		if moved {
			p.pause = p.first
			c.add()
			return nil
		}
		select {
		case <-changed:
			p.pause = p.first
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-c.closed:
			return ErrClosed
		case <-timer.C:
			p.pause = min(2*p.pause, p.most)
			timer.Reset(p.pause)
		}
	}
}
