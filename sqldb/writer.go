package sqldb

import (
	"context"
	"database/sql"
	"log/slog"
	"runtime"
	"runtime/debug"
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
// function and those of the callers that wait, commits for all of them, and
// makes the next waiting caller the leader.
type writer struct {
	db         *DB
	pool       *sql.DB
	log        *slog.Logger
	maxWaiting int

	mu      sync.Mutex
	leading bool
	closed  bool
	idle    chan struct{} // closed when the last leader left after close
	queue   []*waiter

	// Used by the leader only.
	conn     *sql.Conn
	cache    statements
	controls map[string]*sql.Stmt // BEGIN and the like
	broken   error                // the transaction at hand is lost
	batch    []*waiter            // those whose writes stand in it
	begun    time.Time
}

// waiter is a caller in the queue. It is claimed once: by the leader, or by the
// caller, who gives up.
type waiter struct {
	ctx     context.Context
	f       func(context.Context, Tx) error
	claimed atomic.Bool
	turn    chan turn // one, to the caller
	err     error     // with answered
	value   any       // with panicked
}

// turn tells a caller how to go on.
type turn int

const (
	exited   turn = iota // its function ended the goroutine it ran on
	panicked             // its function panicked with value
	answered             // err is the answer
	lead                 // it is the leader now
)

func newWriter(db *DB, pool *sql.DB, o Options) *writer {
	return &writer{db: db, pool: pool, log: o.Logger, maxWaiting: o.MaxWaiting, idle: make(chan struct{})}
}

func (w *writer) update(ctx context.Context, f func(context.Context, Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	me, err := w.enter(ctx, f)
	if err != nil {
		return err
	}
	if me == nil {
		return w.lead(ctx, f)
	}
	var t turn
	select {
	case t = <-me.turn:
	case <-ctx.Done():
		if me.claimed.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		t = <-me.turn
	}
	switch t {
	case lead:
		return w.lead(ctx, f)
	case panicked:
		panic(me.value)
	case exited:
		runtime.Goexit()
	}
	return me.err
}

// enter returns nil if the caller is the leader now.
func (w *writer) enter(ctx context.Context, f func(context.Context, Tx) error) (*waiter, error) {
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
	me := &waiter{ctx: ctx, f: f, turn: make(chan turn, 1)}
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
		next.answer(err)
	}
}

func (me *waiter) answer(err error) {
	me.err = err
	me.turn <- answered
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
	w.runFollowers()
	// Callers that the last commit released may be about to come back: sharing
	// one more commit with them is cheaper than waiting for the disk twice.
	runtime.Gosched()
	w.runFollowers()
	err := w.commit()
	committed = err == nil
	for i, b := range w.batch {
		b.answer(err)
		w.batch[i] = nil
	}
	w.batch = w.batch[:0]
	return err
}

// runFollowers runs the functions of those who wait, until nobody does or the
// batch is full. They run one behind the other on one goroutine that is not the
// leader's, because a function can end the goroutine it is on (as t.FailNow
// does), which its caller then does too.
func (w *writer) runFollowers() {
	for next := w.nextFollower(); next != nil; {
		done := make(chan struct{})
		go func() {
			defer close(done)
			for next != nil {
				me := next
				next = nil // if the goroutine ends here, the next one asks anew
				w.follow(me)
				next = w.nextFollower()
			}
		}()
		<-done
		if next == nil {
			next = w.nextFollower()
		}
	}
}

func (w *writer) nextFollower() *waiter {
	if w.broken != nil || len(w.batch) >= maxBatch || time.Since(w.begun) >= maxBatchTime {
		return nil
	}
	return w.pop()
}

// follow runs the function of a waiter inside the leader's transaction, in a
// savepoint of its own. Whose writes stand is answered after the commit.
func (w *writer) follow(me *waiter) {
	outcome, set := exited, false
	defer func() {
		if outcome == exited {
			if me.value = recover(); me.value != nil {
				outcome = panicked
				w.log.Error("sqldb: panic in Update, passed on to its caller", "panic", me.value, "stack", string(debug.Stack()))
			}
		}
		if set {
			w.undo()
		}
		if set || outcome != answered || me.err != nil {
			me.turn <- outcome
			return
		}
		w.batch = append(w.batch, me)
	}()
	me.err = w.inSavepoint(me, &set)
	outcome = answered
}

// inSavepoint leaves set true if there is a savepoint to undo.
func (w *writer) inSavepoint(me *waiter, set *bool) error {
	if err := me.ctx.Err(); err != nil {
		return err
	}
	if err := w.do("SAVEPOINT follower"); err != nil {
		w.broken = err
		return err
	}
	*set = true
	if err := w.call(me.ctx, me.f); err != nil {
		return err
	}
	if w.broken != nil {
		return w.broken
	}
	if err := w.do("RELEASE follower"); err != nil {
		w.broken = err
		return err
	}
	*set = false
	return nil
}

// call runs f with a Tx that lives as long as it.
func (w *writer) call(ctx context.Context, f func(context.Context, Tx) error) error {
	tx := &writeTx{w: w}
	defer tx.end()
	return f(context.WithValue(ctx, updating{}, w.db), tx)
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
