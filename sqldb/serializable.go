package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// A transaction that others thwarted is tried again until Options.BusyTimeout has
// passed. What a unique key refused is tried again only so often: the row that
// is in the way may have come from a transaction beside it, or be an old one.
const (
	triesOfUnique = 3
	firstPause    = time.Millisecond
	longestPause  = 100 * time.Millisecond
)

// again says that a transaction was thwarted by others.
type again struct{ err error }

func (a again) Error() string { return a.err.Error() }
func (a again) Unwrap() error { return a.err }

func (e *postgres) update(ctx context.Context, f func(context.Context, Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	started := time.Now()
	for try := 1; ; try++ {
		err := e.try(ctx, try, f)
		var thwarted again
		if !errors.As(err, &thwarted) {
			return err
		}
		if time.Since(started) > e.busy {
			return fmt.Errorf("sqldb: others were in the way %d times in %v: %w", try, time.Since(started).Round(time.Millisecond), thwarted.err)
		}
		pause := min(firstPause<<min(try, 16), longestPause)
		if err := sleep(ctx, rand.N(pause)); err != nil {
			return err
		}
	}
}

func (e *postgres) try(ctx context.Context, try int, f func(context.Context, Tx) error) error {
	if err := e.gate.enter(ctx, try > 1); err != nil {
		return err
	}
	thwarted := false
	defer func() { e.gate.leave(thwarted) }()
	err := e.transact(ctx, "BEGIN ISOLATION LEVEL SERIALIZABLE", f)
	if err != nil && try < triesOfUnique && sqlState(err) == uniqueViolation {
		return again{err}
	}
	_, thwarted = err.(again)
	return err
}

// migrate runs f behind all others that migrate the database.
func (e *postgres) migrate(ctx context.Context, f func(context.Context, Tx) error) error {
	if err := e.gate.enter(ctx, false); err != nil {
		return err
	}
	defer e.gate.leave(false)
	return e.transact(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED", func(ctx context.Context, tx Tx) error {
		// The lock ends with the transaction. Its name is the toolkit's own.
		if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock(hashtextextended('cleave migrate', 0))"); err != nil {
			return err
		}
		return f(ctx, tx)
	})
}

// settings of a transaction. A scan of a small table would make whoever writes
// anything to it thwart whoever has read one row of it; an index does not. Where
// there is none, the plan looks so expensive that it would be compiled.
const settings = "; SET LOCAL lock_timeout = %d; SET LOCAL enable_seqscan = off; SET LOCAL jit = off"

// transact runs f once, in a transaction that begin begins.
func (e *postgres) transact(ctx context.Context, begin string, f func(context.Context, Tx) error) error {
	conn, err := e.begin(ctx, fmt.Sprintf(begin+settings, e.busy.Milliseconds()))
	if err != nil {
		return err
	}
	tx := &postgresTx{e: e, conn: conn}
	committed := false
	defer func() { // also when f panics
		if committed {
			conn.Close()
			return
		}
		tx.end()
		rollback(conn)
	}()
	err = f(context.WithValue(ctx, updating{}, e.db), tx)
	tx.end()
	switch {
	case tx.thwarted != nil: // whatever f made of it
		return again{tx.thwarted}
	case thwarts(err):
		return again{err}
	case err != nil:
		return err
	case tx.broken != nil:
		return fmt.Errorf("sqldb: the transaction was rolled back: %w", tx.broken)
	}
	err = e.commit(ctx, conn)
	committed = err == nil
	return err
}

// begin begins a transaction on a connection. One that was lost while it was
// idle is replaced.
func (e *postgres) begin(ctx context.Context, begin string) (*sql.Conn, error) {
	for try := 1; ; try++ {
		conn, err := e.conns.Conn(ctx)
		if err != nil {
			return nil, fmt.Errorf("sqldb: connect: %w", err)
		}
		if _, err = conn.ExecContext(ctx, begin); err == nil {
			return conn, nil
		}
		discard(conn)
		if try == 3 || ctx.Err() != nil || sqlState(err) != "" {
			return nil, fmt.Errorf("sqldb: begin: %w", err)
		}
	}
}

// commit commits. The statement in front fails where COMMIT alone would quietly
// roll back, because a statement before it failed. The end of ctx does not leave
// open whether there was a commit; a lost connection does.
func (e *postgres) commit(ctx context.Context, conn *sql.Conn) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.busy+20*time.Second)
	defer cancel()
	_, err := conn.ExecContext(ctx, "SELECT; COMMIT")
	switch {
	case err == nil:
		e.db.commits.add()
		return nil
	case thwarts(err):
		return again{err}
	case sqlState(err) == "":
		return fmt.Errorf("sqldb: the connection was lost in COMMIT, which may have been done: %w", err)
	}
	return fmt.Errorf("sqldb: commit: %w", err)
}

// rollback ends the transaction and returns the connection to the pool.
func rollback(conn *sql.Conn) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil {
		discard(conn)
		return
	}
	conn.Close()
}

// discard drops a connection in an unknown state.
func discard(conn *sql.Conn) {
	conn.Raw(func(any) error { return driver.ErrBadConn }) // the pool drops it
	conn.Close()
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// SQLSTATEs that this package tells apart.
const (
	uniqueViolation      = "23505"
	serializationFailure = "40001"
	deadlockDetected     = "40P01"
)

// sqlState returns PostgreSQL's code for err, "" if it is not the server's.
func sqlState(err error) string {
	var coded interface{ SQLState() string }
	if errors.As(err, &coded) {
		return coded.SQLState()
	}
	return ""
}

// thwarts reports whether a transaction that failed with err can succeed when it
// is run again.
func thwarts(err error) bool {
	state := sqlState(err)
	return state == serializationFailure || state == deadlockDetected
}
