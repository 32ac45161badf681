package sqldb

import (
	"context"
	"database/sql"
	"sync"
	"time"
)

// pollInterval is how often foreign commits are looked for while somebody waits.
const pollInterval = 50 * time.Millisecond

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

// poller notices that the file changed since it last looked.
type poller struct {
	conn    *sql.Conn
	st      *sql.Stmt
	version int64
}

func (c *commits) open(ctx context.Context, pool *sql.DB) error {
	conn, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	p := &poller{conn: conn}
	if p.st, err = conn.PrepareContext(ctx, "PRAGMA data_version"); err == nil {
		_, err = p.moved(ctx)
	}
	if err != nil {
		conn.Close()
		return err
	}
	c.changed = make(chan struct{})
	c.closed = make(chan struct{})
	c.poller = make(chan *poller, 1)
	c.poller <- p
	return nil
}

func (c *commits) close() {
	close(c.closed)
	p := <-c.poller
	p.conn.Close()
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

// moved reports whether any other connection committed since the last call.
func (p *poller) moved(ctx context.Context) (bool, error) {
	var v int64
	if err := p.st.QueryRowContext(ctx).Scan(&v); err != nil {
		return false, err
	}
	moved := v != p.version
	p.version = v
	return moved, nil
}

// Committed returns a number that rises with the commits AwaitCommit knows of.
func (db *DB) Committed() uint64 {
	n, _ := db.commits.since(0)
	return n
}

// AwaitCommit returns as soon as something was committed since Committed or
// AwaitCommit returned after: at once for this process's own commits, within
// 50 ms for another's. Take the number before you read, and pass it when what
// you read was not enough: no commit is missed. It may return early, and then
// nothing new is there.
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
	timer := time.NewTimer(pollInterval)
	defer timer.Stop()
	for {
		moved, err := p.moved(context.WithoutCancel(ctx))
		if err != nil {
			return err
		}
		if moved {
			c.add()
			return nil
		}
		select {
		case <-changed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-c.closed:
			return ErrClosed
		case <-timer.C:
			timer.Reset(pollInterval)
		}
	}
}
