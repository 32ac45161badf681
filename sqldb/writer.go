package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A batch, the functions that share one commit, ends at the first of these.
const (
	maxBatch     = 512
	maxBatchTime = 20 * time.Millisecond
)

// writer lets callers write one behind the other on one connection. Whoever
// finds it idle becomes the leader: it begins a transaction, runs its own
// function, gives each caller that waits its turn, commits for all of them, and
// makes the next waiting caller the leader.
type writer struct {
	db         *DB
	pool       *sql.DB
	maxWaiting int

	mu      sync.Mutex
	leading bool
	closed  bool
	idle    chan struct{} // closed when the last leader left after close
	queue   []*waiter

	// Used only by the leader or by the caller whose turn it is.
	conn     *sql.Conn
	cache    statements
	controls map[string]*sql.Stmt // BEGIN and the like
	broken   error                // the transaction at hand is lost
}

// waiter is a caller in the queue. Exactly one of leader and caller claims it:
// the leader to give it a turn, the caller to give up.
type waiter struct {
	claimed atomic.Bool
	turn    chan turn  // from the leader, once
	back    chan bool  // to the leader: the function ended, and its writes stand
	result  chan error // from the leader: of the commit
	err     error      // set before the turn leave
}

type turn int

const (
	run turn = iota
	lead
	leave // with err
)

func newWriter(db *DB, pool *sql.DB, o Options) *writer {
	return &writer{db: db, pool: pool, maxWaiting: o.MaxWaiting, idle: make(chan struct{})}
}

func (w *writer) update(ctx context.Context, f func(context.Context, Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	me, err := w.enter()
	if err != nil {
		return err
	}
	if me == nil {
		return w.lead(ctx, f)
	}
	t := run
	select {
	case t = <-me.turn:
	case <-ctx.Done():
		if me.claimed.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		t = <-me.turn
	}
	switch t {
	case leave:
		return me.err
	case lead:
		return w.lead(ctx, f)
	}
	if err := w.follow(ctx, me, f); err != nil {
		return err
	}
	return <-me.result
}

// enter returns nil if the caller is the leader now.
func (w *writer) enter() (*waiter, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.closed:
		return nil, ErrClosed
	case !w.leading:
		w.leading = true
		return nil, nil
	case len(w.queue) >= w.maxWaiting:
		return nil, ErrBusy
	}
	me := &waiter{turn: make(chan turn, 1), back: make(chan bool, 1), result: make(chan error, 1)}
	w.queue = append(w.queue, me)
	return me, nil
}

// pop claims the next caller that still waits, nil if none does.
func (w *writer) pop() *waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.popLocked()
}

func (w *writer) popLocked() *waiter {
	for len(w.queue) > 0 {
		next := w.queue[0]
		w.queue[0] = nil
		w.queue = w.queue[1:]
		if next.claimed.CompareAndSwap(false, true) {
			return next
		}
	}
	return nil
}

// passOn makes the next waiting caller the leader.
func (w *writer) passOn() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		w.dismissLocked(ErrClosed)
		close(w.idle)
		return
	}
	if next := w.popLocked(); next != nil {
		next.turn <- lead
		return
	}
	w.leading = false
}

// dismiss answers err to all that wait.
func (w *writer) dismiss(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dismissLocked(err)
}

func (w *writer) dismissLocked(err error) {
	for next := w.popLocked(); next != nil; next = w.popLocked() {
		next.err = err
		next.turn <- leave
	}
}

// lead runs f and the functions of those who wait in one transaction.
func (w *writer) lead(ctx context.Context, f func(context.Context, Tx) error) error {
	defer w.passOn() // also when f panics
	if err := w.begin(ctx); err != nil {
		if ctx.Err() == nil {
			w.dismiss(err) // it would not go better for them
		}
		return err
	}
	committed := false
	defer func() {
		if !committed {
			w.rollback()
		}
	}()
	if err := w.call(ctx, f); err != nil {
		return err
	}
	var batch []*waiter
	start := time.Now()
	for w.broken == nil && len(batch) < maxBatch && time.Since(start) < maxBatchTime {
		next := w.pop()
		if next == nil {
			break
		}
		next.turn <- run
		if <-next.back {
			batch = append(batch, next)
		}
	}
	err := w.commit()
	committed = err == nil
	for _, b := range batch {
		b.result <- err
	}
	return err
}

// follow runs f inside the leader's transaction, in a savepoint of its own.
func (w *writer) follow(ctx context.Context, me *waiter, f func(context.Context, Tx) error) (err error) {
	stands, set := false, false
	defer func() {
		if set && !stands { // f failed, panicked, or ended the goroutine
			w.undo()
		}
		me.back <- stands
	}()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := w.do("SAVEPOINT follower"); err != nil {
		w.broken = err
		return err
	}
	set = true
	if err := w.call(ctx, f); err != nil {
		return err
	}
	if w.broken != nil {
		return w.broken
	}
	if err := w.do("RELEASE follower"); err != nil {
		w.broken = err
		return err
	}
	stands = true
	return nil
}

// call runs f with a Tx that lives as long as it.
func (w *writer) call(ctx context.Context, f func(context.Context, Tx) error) error {
	tx := &writeTx{w: w}
	defer tx.end()
	return f(context.WithValue(ctx, updating{}, w.db), tx)
}

func (w *writer) undo() {
	if w.broken != nil {
		return
	}
	if err := errors.Join(w.do("ROLLBACK TO follower"), w.do("RELEASE follower")); err != nil {
		w.broken = err
	}
}

func (w *writer) begin(ctx context.Context) error {
	w.broken = nil
	if w.cache.full() {
		w.cache.clear()
	}
	if err := w.connect(ctx); err != nil {
		return err
	}
	st, err := w.control("BEGIN IMMEDIATE")
	if err != nil {
		return err
	}
	if _, err := st.ExecContext(ctx); err != nil {
		// Interrupted as it took effect, it may have begun.
		w.rollback()
		return fmt.Errorf("sqldb: begin: %w", err)
	}
	return nil
}

func (w *writer) commit() error {
	if w.broken != nil {
		return fmt.Errorf("sqldb: the transaction was rolled back: %w", w.broken)
	}
	if err := w.do("COMMIT"); err != nil {
		return fmt.Errorf("sqldb: commit: %w", err)
	}
	w.db.commits.add()
	return nil
}

// rollback ends the transaction if there is one, or else the connection.
func (w *writer) rollback() {
	if w.conn == nil {
		return
	}
	w.do("ROLLBACK") // fails if SQLite rolled back already
	if w.do("BEGIN") == nil && w.do("ROLLBACK") == nil {
		return // not inside a transaction any more
	}
	w.disconnect()
}

// do runs a statement that controls the transaction.
func (w *writer) do(query string) error {
	st, err := w.control(query)
	if err != nil {
		return err
	}
	_, err = st.ExecContext(context.Background())
	return err
}

// note remembers that err cost the transaction.
func (w *writer) note(err error) {
	if err != nil && w.broken == nil && rollsBack(err) {
		w.broken = err
	}
}

// close refuses further callers and waits for the leader; false if it was
// closed before.
func (w *writer) close() bool {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return false
	}
	w.closed = true
	leading := w.leading
	w.mu.Unlock()
	if leading {
		<-w.idle
	}
	return true
}

func (w *writer) isClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.closed
}
