package main

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
)

func appendAlone(ctx context.Context, b *bench) ([]lane, error) {
	r, err := b.raw(ctx)
	if err != nil {
		return nil, err
	}
	db, _, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	st := sqlstore.New(db)
	var rawVersion, version uint64
	return []lane{
		{"raw insert", callers(b.round, 1, func(ctx context.Context, _ int) error {
			rawVersion++
			if _, err := r.begin.ExecContext(ctx); err != nil {
				return err
			}
			if err := r.append(ctx, stream(0), rawVersion); err != nil {
				return err
			}
			_, err := r.commit.ExecContext(ctx)
			return err
		})},
		{"cleave", callers(b.round, 1, func(ctx context.Context, _ int) error {
			version++
			_, err := st.Append(ctx, stream(0), eventsource.At(version-1), record())
			return err
		})},
	}, nil
}

const many = 64

func appendTogether(ctx context.Context, b *bench) ([]lane, error) {
	r, err := b.raw(ctx)
	if err != nil {
		return nil, err
	}
	g := &group{raw: r, waiting: make(chan *waiter, many)}
	go g.run(ctx)
	db, _, err := b.open(ctx)
	if err != nil {
		return nil, err
	}
	st := sqlstore.New(db)
	var rawVersions, versions [many]uint64
	return []lane{
		{"raw group commit", callers(b.round, many, func(ctx context.Context, i int) error {
			rawVersions[i]++
			return g.append(i, rawVersions[i])
		})},
		{"cleave", callers(b.round, many, func(ctx context.Context, i int) error {
			versions[i]++
			_, err := st.Append(ctx, stream(i), eventsource.At(versions[i]-1), record())
			return err
		})},
	}, nil
}

// group commits for all who wait at once.
type group struct {
	raw     *raw
	waiting chan *waiter
}

type waiter struct {
	stream  int
	version uint64
	done    chan error
}

var waiters = sync.Pool{New: func() any { return &waiter{done: make(chan error, 1)} }}

func (g *group) append(stream int, version uint64) error {
	w := waiters.Get().(*waiter)
	defer waiters.Put(w)
	w.stream, w.version = stream, version
	g.waiting <- w
	return <-w.done
}

func (g *group) run(ctx context.Context) {
	var batch []*waiter
	for {
		batch = batch[:0]
		select {
		case w := <-g.waiting:
			batch = append(batch, w)
		case <-ctx.Done():
			return
		}
		_, err := g.raw.begin.ExecContext(ctx)
		for i := 0; i < len(batch) && err == nil; i++ {
			err = g.raw.append(ctx, stream(batch[i].stream), batch[i].version)
			batch = g.more(batch)
			if i+1 == len(batch) {
				runtime.Gosched()
				batch = g.more(batch)
			}
		}
		if err == nil {
			_, err = g.raw.commit.ExecContext(ctx)
		}
		for _, w := range batch {
			w.done <- err
		}
	}
}

func (g *group) more(batch []*waiter) []*waiter {
	for {
		select {
		case w := <-g.waiting:
			batch = append(batch, w)
		default:
			return batch
		}
	}
}

// callers returns a lane of n callers that call f again and again for a while.
func callers(round time.Duration, n int, f func(ctx context.Context, i int) error) func(ctx context.Context) (float64, error) {
	return func(ctx context.Context) (float64, error) {
		var calls atomic.Int64
		var failed atomic.Pointer[error]
		var wg sync.WaitGroup
		start := time.Now()
		for i := range n {
			wg.Go(func() {
				for time.Since(start) < round && failed.Load() == nil {
					if err := f(ctx, i); err != nil {
						failed.CompareAndSwap(nil, &err)
						return
					}
					calls.Add(1)
				}
			})
		}
		wg.Wait()
		if err := failed.Load(); err != nil {
			return 0, *err
		}
		return float64(calls.Load()) / time.Since(start).Seconds(), nil
	}
}
