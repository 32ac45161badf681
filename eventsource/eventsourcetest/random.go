package eventsourcetest

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/sqldb"
)

// What Random does at once.
const (
	randomWriters = 16
	randomReaders = 3
	randomStreams = 64
)

// Random runs so many transactions by 16 writers on both handles of b: single
// appends, and transactions that append early, work, and append again; one in
// six of those is undone, and one in thirty is cut off by the end of its
// context. Three feeds follow live. Each must show every acknowledged record,
// once, in the order of positions and of the versions of its stream.
func Random(t *testing.T, b Backend, transactions int) {
	if b.Other == nil {
		b.Other = b.Store
	}
	r := &random{b: b, recs: 2 * transactions, known: newBits(2 * transactions)}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	feeds := make([]*follower, randomReaders)
	var reading sync.WaitGroup
	for i := range feeds {
		feeds[i] = &follower{seen: newBits(r.recs), versions: map[event.Stream]uint64{}, wake: make(chan struct{}, 1)}
		reading.Go(func() { feeds[i].run(t, ctx, []eventsource.Store{b.Store, b.Other}[i%2]) })
	}
	var writing sync.WaitGroup
	var drawn atomic.Int64
	for w := range randomWriters {
		writing.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 7))
			for n := int(drawn.Add(1)) - 1; n < transactions && !t.Failed(); n = int(drawn.Add(1)) - 1 {
				r.transaction(t, rng, n)
			}
		})
	}
	writing.Wait()
	head, err := b.Store.Head(t.Context())
	if err != nil {
		t.Error(err)
	}
	for i, f := range feeds {
		if !f.reach(head, time.Minute) {
			t.Errorf("feed %d has come to position %d a minute after the last commit, at %d", i, f.at.Load(), head)
		}
	}
	stop()
	reading.Wait()
	for i, f := range feeds {
		if lost := r.known.without(f.seen); lost > 0 {
			t.Errorf("feed %d: %d records were acknowledged and not shown", i, lost)
		}
	}
	t.Logf("%d transactions, %d records acknowledged, head %d", transactions, r.known.count(), head)
}

// random is a run. The records of transaction n are 2n and 2n+1.
type random struct {
	b     Backend
	recs  int
	known *bits // acknowledged
}

func numbered(n int) event.Record {
	return event.Record{ID: event.NewID(), Type: "order.placed", Schema: 1, Data: strconv.AppendInt(nil, int64(n), 10)}
}

func (r *random) transaction(t *testing.T, rng *rand.Rand, n int) {
	st := []eventsource.Store{r.b.Store, r.b.Other}[rng.IntN(2)]
	to := event.Stream{Category: "order", ID: strconv.Itoa(rng.IntN(randomStreams))}
	if rng.IntN(2) == 0 {
		if _, err := st.Append(t.Context(), to, eventsource.Any, numbered(2*n)); err != nil {
			t.Errorf("append: %v", err)
			return
		}
		r.known.set(2 * n)
		return
	}
	early, late := numbered(2*n), numbered(2*n+1)
	undone, cut, work := rng.IntN(6) == 0, rng.IntN(30) == 0, time.Duration(rng.IntN(300))*time.Microsecond
	own := event.Stream{Category: "early", ID: strconv.Itoa(n % 1000)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := r.b.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		if _, err := r.b.Store.In(tx).Append(ctx, own, eventsource.Any, early); err != nil {
			return err
		}
		if work > 0 {
			time.Sleep(work)
		}
		if cut {
			cancel()
		}
		_, err := r.b.Store.In(tx).Append(ctx, to, eventsource.Any, late)
		if err == nil && undone {
			err = errUndo
		}
		return err
	})
	switch {
	case err == nil:
		r.known.set(2 * n)
		r.known.set(2*n + 1)
	case cut && errors.Is(err, context.Canceled), undone && errors.Is(err, errUndo):
	default:
		t.Errorf("transaction: %v", err)
	}
}

// follower is a live feed and what it has shown.
type follower struct {
	seen     *bits
	versions map[event.Stream]uint64
	at       atomic.Uint64
	wake     chan struct{}
}

func (f *follower) run(t *testing.T, ctx context.Context, st eventsource.Store) {
	for r, err := range st.Feed(ctx, eventsource.FeedOptions{Live: true}) {
		if err != nil {
			if ctx.Err() == nil {
				t.Errorf("feed at position %d: %v", f.at.Load(), err)
			}
			return
		}
		var n int
		if err := json.Unmarshal(r.Data, &n); err != nil {
			t.Errorf("position %d: %v", r.Position, err)
			return
		}
		f.versions[r.Stream]++
		switch {
		case uint64(r.Position) <= f.at.Load():
			t.Errorf("position %d comes behind %d", r.Position, f.at.Load())
		case r.Version != f.versions[r.Stream]:
			t.Errorf("%s: version %d where %d was due", r.Stream, r.Version, f.versions[r.Stream])
		case !f.seen.set(n):
			t.Errorf("position %d: record %d was shown before", r.Position, n)
		default:
			f.at.Store(uint64(r.Position))
			select {
			case f.wake <- struct{}{}:
			default:
			}
			continue
		}
		return
	}
}

// reach waits until the feed has come to a position.
func (f *follower) reach(p event.Position, within time.Duration) bool {
	timeout := time.After(within)
	for f.at.Load() < uint64(p) {
		select {
		case <-f.wake:
		case <-timeout:
			return false
		}
	}
	return true
}

// bits is a set of small numbers.
type bits struct {
	mu    sync.Mutex
	words []uint64
}

func newBits(n int) *bits { return &bits{words: make([]uint64, n/64+1)} }

// set adds n, and reports whether it was not there.
func (b *bits) set(n int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	bit := uint64(1) << (n % 64)
	was := b.words[n/64]&bit != 0
	b.words[n/64] |= bit
	return !was
}

func (b *bits) count() (n int) {
	for i := range len(b.words) * 64 {
		if b.words[i/64]&(1<<(i%64)) != 0 {
			n++
		}
	}
	return n
}

// without counts what b has and other lacks.
func (b *bits) without(other *bits) int {
	rest := &bits{words: slices.Clone(b.words)}
	for i, w := range other.words {
		rest.words[i] &^= w
	}
	return rest.count()
}
