package saga

import (
	"context"
	"sync"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/saga/internal/machine"
	"github.com/cleave-go/cleave/sqldb"
)

const (
	pollTimers  = 250 * time.Millisecond // for what other processes and Start made due
	claimTimers = 2 * time.Second        // how far a timer moves before it fires
	maxTimers   = 128                    // fired at once
)

// timers knows when the next one is due, as far as this process set it.
type timers struct {
	mu   sync.Mutex
	next time.Time     // zero: none expected
	wake chan struct{} // a timer is due before the one waited for
}

func (t *timers) init() { t.wake = make(chan struct{}, 1) }

// expect makes the loop look at the table when due has come.
func (t *timers) expect(due time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if due.IsZero() || !t.next.IsZero() && !due.Before(t.next) {
		return
	}
	t.next = due
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// pause returns how long to wait until the table is looked at again.
func (t *timers) pause() time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next.IsZero() {
		return pollTimers
	}
	return min(pollTimers, max(0, time.Until(t.next)))
}

// passed forgets what was expected before now.
func (t *timers) passed(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.next.After(now) {
		t.next = time.Time{}
	}
}

// runTimers fires timers as they come due. due_at in the table is the truth;
// what is expected only makes it prompt.
func (r *Orchestrator) runTimers(ctx context.Context) error {
	for ctx.Err() == nil {
		now := time.Now()
		r.timers.passed(now)
		n, err := r.fireDue(ctx, now)
		if err != nil && ctx.Err() == nil {
			r.log.Error("saga: timers", "error", err)
		}
		if n == maxTimers && err == nil {
			continue // there may be more
		}
		wait := time.NewTimer(r.timers.pause())
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				waiting = false
			case <-wait.C:
				waiting = false
			case <-r.timers.wake:
				wait.Reset(r.timers.pause())
			}
		}
		wait.Stop()
	}
	return nil
}

// timer is a row of the table that is due.
type timer struct {
	id  string
	due int64
}

// fireDue moves all due timers a little, so that one that cannot fire holds up
// no other and two processes do not fire the same, and then fires them.
func (r *Orchestrator) fireDue(ctx context.Context, now time.Time) (int, error) {
	due, err := r.due(ctx, now)
	if err != nil || len(due) == 0 {
		return 0, err
	}
	var claimed []timer
	err = r.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		for _, t := range due {
			res, err := tx.ExecContext(ctx, `UPDATE saga_instance SET due_at = ? WHERE id = ? AND due_at = ?`,
				now.Add(claimTimers).UnixMilli(), t.id, t.due)
			if err != nil {
				return err
			}
			if n, err := res.RowsAffected(); err != nil {
				return err
			} else if n == 1 {
				claimed = append(claimed, t)
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	var wg sync.WaitGroup
	for _, t := range claimed {
		wg.Go(func() { r.fire(ctx, t) })
	}
	wg.Wait()
	return len(due), nil
}

func (r *Orchestrator) due(ctx context.Context, now time.Time) ([]timer, error) {
	rows, err := r.db.QueryContext(ctx, `SELECT id, due_at FROM saga_instance WHERE due_at <= ? ORDER BY due_at LIMIT ?`, now.UnixMilli(), maxTimers)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []timer
	for rows.Next() {
		var t timer
		if err := rows.Scan(&t.id, &t.due); err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

func (r *Orchestrator) fire(ctx context.Context, t timer) {
	err := r.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		id, err := event.ParseID(t.id)
		if err != nil {
			return err
		}
		return r.advance(ctx, tx, id, event.ID{}, func(*flow) (machine.Input, bool) {
			return machine.Input{Kind: machine.Tick}, true
		})
	})
	if err != nil && ctx.Err() == nil {
		r.log.Warn("saga: a timer is tried again later", "id", t.id, "error", err)
	}
}
