package limit

import (
	"fmt"
	"hash/maphash"
	"sync"
	"time"
)

// Rate is how often something may happen: Events in each Per on average, and up to Burst at once.
type Rate struct {
	Events int
	Per    time.Duration
	Burst  int // 0 means Events
}

// Options bounds a limiter. The zero value, like nil, means the defaults.
type Options struct {
	// MaxKeys is how many keys are kept at most, rounded up to a multiple of 16. Default: 65,536.
	MaxKeys int
}

// Never is the retryAfter of a call that costs more than the burst: it can never be admitted.
const Never time.Duration = -1

const shards = 16

// Keyed limits each key to the same rate. Make it with [NewKeyed].
type Keyed[K comparable] struct {
	clock  time.Time
	every  int64 // nanoseconds that one event costs
	burst  int64 // nanoseconds that a key may be ahead
	seed   maphash.Seed
	shards [shards]shard[K]
}

// shard holds, for each key, when its debt will be paid: its theoretical arrival time.
type shard[K comparable] struct {
	mu  sync.Mutex
	max int
	due map[K]int64
}

// NewKeyed returns a limiter in which every key has its whole burst. It fails with a sentence if the rate makes
// no sense.
func NewKeyed[K comparable](r Rate, o *Options) (*Keyed[K], error) {
	if r.Burst == 0 {
		r.Burst = r.Events
	}
	switch {
	case r.Events < 1 || r.Per <= 0 || int64(r.Per) < int64(r.Events):
		return nil, fmt.Errorf("limit: %d events per %v is not a rate", r.Events, r.Per)
	case r.Burst < 1:
		return nil, fmt.Errorf("limit: a burst of %d admits nothing", r.Burst)
	}
	every := int64(r.Per) / int64(r.Events)
	if int64(r.Burst) > int64(maxBurstTime)/every {
		return nil, fmt.Errorf("limit: a burst of %d takes longer than %v to earn", r.Burst, maxBurstTime)
	}
	maxKeys := 65_536
	if o != nil && o.MaxKeys != 0 {
		maxKeys = o.MaxKeys
	}
	if maxKeys < 1 {
		return nil, fmt.Errorf("limit: MaxKeys is %d, must be 1 or more", maxKeys)
	}
	l := &Keyed[K]{clock: time.Now(), every: every, burst: every * int64(r.Burst), seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i] = shard[K]{max: (maxKeys-1)/shards + 1, due: make(map[K]int64)}
	}
	return l, nil
}

const maxBurstTime = 10 * 365 * 24 * time.Hour

// Allow admits one event of key or answers after how long to try again. remaining is how many more would
// be admitted right now.
func (l *Keyed[K]) Allow(key K) (ok bool, retryAfter time.Duration, remaining int) {
	return l.AllowN(key, 1)
}

// AllowN is [Keyed.Allow] for an event that counts as n; below 1, n counts as 1.
func (l *Keyed[K]) AllowN(key K, n int) (ok bool, retryAfter time.Duration, remaining int) {
	now := int64(time.Since(l.clock))
	s := &l.shards[maphash.Comparable(l.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	due, known := s.due[key]
	due = max(due, now)
	left := l.burst - (due - now)
	if n = max(n, 1); int64(n) > l.burst/l.every {
		return false, Never, int(left / l.every)
	}
	cost := int64(n) * l.every
	if cost > left {
		return false, time.Duration(cost - left), int(left / l.every)
	}
	if !known {
		s.makeRoom(now)
	}
	s.due[key] = due + cost
	return true, 0, int((left - cost) / l.every)
}

// Len returns how many keys are kept.
func (l *Keyed[K]) Len() int {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.due)
		s.mu.Unlock()
	}
	return n
}

// makeRoom looks at a few keys, at random as maps are, and forgets those without debt; so the map follows
// the number of keys in use. If there is still no room it forgets the one with the least debt.
func (s *shard[K]) makeRoom(now int64) {
	var least K
	leastDue, looked := int64(-1), 0
	for key, due := range s.due {
		if due <= now {
			delete(s.due, key)
		} else if leastDue < 0 || due < leastDue {
			least, leastDue = key, due
		}
		if looked++; looked == 8 {
			break
		}
	}
	if len(s.due) >= s.max {
		delete(s.due, least)
	}
}
