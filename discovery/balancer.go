package discovery

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// BalancerOptions tunes a Balancer.
type BalancerOptions struct {
	// EjectAfter is the number of failures in a row that takes an instance out for a while. Default: 3.
	EjectAfter int
	// EjectFor is the time of a first ejection; it doubles with each that follows without a success
	// between. Default: 1 s.
	EjectFor time.Duration
	// EjectMax bounds the time of an ejection. Default: 30 s.
	EjectMax time.Duration
	// SlowStart is the time in which an instance that joins others grows from a tenth of its share to
	// all of it. Default: 10 s.
	SlowStart time.Duration
	// DisableSlowStart gives a new instance its whole share at once.
	DisableSlowStart bool
	// Decay is the time in which an old measurement loses 63 % of its effect. Default: 10 s.
	Decay time.Duration
	// Rand is the source of chance; it is used by one call at a time. Default: the runtime's.
	Rand *rand.Rand
}

// A Balancer chooses the instance for each call: two are drawn at random by weight, and the call goes to
// the first unless the second is clearly less loaded. Load is the peak of recent answer times, times the
// calls in flight. It is safe for concurrent use, and its zero value is of no use: see NewBalancer.
type Balancer struct {
	opts BalancerOptions

	mu    sync.Mutex
	known map[string]*peer
	live  []*peer
	began bool // a snapshot with live instances was seen
}

// NewBalancer returns a balancer without instances; Update gives it some.
func NewBalancer(opts *BalancerOptions) *Balancer {
	b := &Balancer{known: map[string]*peer{}}
	if opts != nil {
		b.opts = *opts
	}
	setDefault(&b.opts.EjectAfter, 3)
	setDefault(&b.opts.EjectFor, time.Second)
	setDefault(&b.opts.EjectMax, 30*time.Second)
	setDefault(&b.opts.SlowStart, 10*time.Second)
	setDefault(&b.opts.Decay, 10*time.Second)
	return b
}

func setDefault[T int | time.Duration](p *T, value T) {
	if *p <= 0 {
		*p = value
	}
}

// Update replaces the instances by those of the snapshot and keeps what was learnt of the ones that stay.
func (b *Balancer) Update(s Snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	known := make(map[string]*peer, len(s.Instances))
	live := make([]*peer, 0, len(s.Instances))
	for _, in := range s.Instances {
		if !in.Status.Live() {
			continue
		}
		p := b.known[in.ID]
		if p == nil || p.instance.Addr != in.Addr {
			p = &peer{}
			if b.began && !b.opts.DisableSlowStart {
				p.joined = now
			}
		}
		p.instance = in
		known[in.ID] = p
		live = append(live, p)
	}
	b.known, b.live = known, live
	b.began = len(live) > 0
}

// Pick chooses an instance, not one whose ID is in skip (those the caller already tried), and counts a
// call in flight to it until Done. The error is ErrNoInstance when there is none to choose.
func (b *Balancer) Pick(skip ...string) (*Picked, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	p := b.choose(now, skip)
	if p == nil {
		return nil, ErrNoInstance
	}
	p.inflight++
	return &Picked{Instance: p.instance, b: b, p: p, start: now}, nil
}

// Picked is one call on its way to Instance.
type Picked struct {
	Instance Instance

	b        *Balancer
	p        *peer
	start    time.Time
	answered bool
	done     bool
}

// Answered measures: the instance answered first after d, or failed with err. For calls that go on
// after the first answer, such as streams and connections; for others Done alone is enough. Only the
// first measurement of a call counts.
func (p *Picked) Answered(d time.Duration, err error) {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	p.answer(d, err)
}

// Done ends the call, measured from Pick until now unless Answered was called. An err that is
// context.Canceled says nothing about the instance and is not counted. Calls after the first do nothing.
func (p *Picked) Done(err error) {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	if p.done {
		return
	}
	p.answer(time.Since(p.start), err)
	p.done = true
	p.p.inflight--
}

func (p *Picked) answer(d time.Duration, err error) {
	if p.answered || p.done {
		return
	}
	p.answered = true
	if errors.Is(err, context.Canceled) {
		return
	}
	now := time.Now()
	p.p.observe(now, d, err != nil, p.b.opts.Decay)
	if err == nil {
		p.p.failures, p.p.ejections = 0, 0
		return
	}
	p.p.failures++
	p.b.eject(p.p, now)
}

// eject takes p out for a while when it failed often enough and enough others remain.
func (b *Balancer) eject(p *peer, now time.Time) {
	if p.failures < b.opts.EjectAfter || now.Before(p.ejectedUntil) {
		return
	}
	out := 1
	for _, other := range b.live {
		if other != p && now.Before(other.ejectedUntil) {
			out++
		}
	}
	if 2*out > len(b.live) {
		return
	}
	d := b.opts.EjectMax
	if p.ejections < 16 {
		d = min(d, b.opts.EjectFor<<p.ejections)
	}
	p.ejections++
	p.ejectedUntil = now.Add(d)
	p.failures = b.opts.EjectAfter - 1 // back on probation: the next failure ejects again
	p.cost = 0                         // and measured anew
}

// better is how many times less loaded the second candidate must be to be preferred. It keeps chance in
// charge among equals, so that shares follow the weights.
const better = 1.5

// jitter is added to every measured cost: differences of a few milliseconds come from the scheduler more
// often than from the instance, and must not outweigh an even distribution.
const jitter = float64(5 * time.Millisecond)

func (b *Balancer) choose(now time.Time, skip []string) *peer {
	field := b.field(now, skip, false)
	if len(field) == 0 {
		if field = b.field(now, skip, true); len(field) == 0 {
			return nil
		}
	}
	if len(field) == 1 {
		return field[0].peer
	}
	var total, known float64
	measured := 0
	for i := range field {
		c := &field[i]
		c.weight = c.peer.share(now, b.opts.SlowStart)
		c.cost = c.peer.costAt(now, b.opts.Decay)
		total += c.weight
		if c.cost > 0 {
			known += c.cost
			measured++
		}
	}
	average := 1.0
	if measured > 0 {
		average = known / float64(measured)
	}
	load := func(c candidate) float64 {
		cost := c.cost
		if cost == 0 {
			cost = average
		}
		relative := c.weight * float64(len(field)) / total
		return (cost + jitter) * (float64(c.peer.inflight)/relative + 1)
	}
	i := b.draw(field, total)
	first := field[i]
	field[i] = field[len(field)-1]
	rest := field[:len(field)-1]
	second := rest[b.draw(rest, total-first.weight)]
	if load(second)*better <= load(first) {
		return second.peer
	}
	return first.peer
}

type candidate struct {
	peer         *peer
	weight, cost float64
}

// field lists who may be chosen; with ejected set, the ejected ones too: better a bad instance than none.
func (b *Balancer) field(now time.Time, skip []string, ejected bool) []candidate {
	field := make([]candidate, 0, len(b.live))
next:
	for _, p := range b.live {
		if !ejected && now.Before(p.ejectedUntil) {
			continue
		}
		for _, id := range skip {
			if id == p.instance.ID {
				continue next
			}
		}
		field = append(field, candidate{peer: p})
	}
	return field
}

// draw returns an index by weight.
func (b *Balancer) draw(field []candidate, total float64) int {
	r := b.float64() * total
	for i, c := range field {
		if r -= c.weight; r < 0 {
			return i
		}
	}
	return len(field) - 1
}

func (b *Balancer) float64() float64 {
	if b.opts.Rand != nil {
		return b.opts.Rand.Float64()
	}
	return rand.Float64()
}

// PeerState is what a balancer holds of one live instance.
type PeerState struct {
	ID           string
	InFlight     int
	Cost         time.Duration // recent peak of answer times; 0 before the first
	EjectedUntil time.Time     // zero when it is not ejected now
}

// States returns what is known of each live instance, in the order of the snapshot.
func (b *Balancer) States() []PeerState {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	states := make([]PeerState, len(b.live))
	for i, p := range b.live {
		states[i] = PeerState{ID: p.instance.ID, InFlight: p.inflight, Cost: time.Duration(p.costAt(now, b.opts.Decay))}
		if now.Before(p.ejectedUntil) {
			states[i].EjectedUntil = p.ejectedUntil
		}
	}
	return states
}

// peer is what is known of an instance; the balancer's mutex guards it.
type peer struct {
	instance     Instance
	joined       time.Time // start of its slow start; zero: none
	inflight     int
	cost         float64 // nanoseconds, as of measured; 0: not measured
	measured     time.Time
	failures     int // in a row
	ejections    int // since the last success
	ejectedUntil time.Time
}

// observe lets a longer time count at once and a shorter one gradually. A failure never makes an
// instance look faster.
func (p *peer) observe(now time.Time, d time.Duration, failed bool, decay time.Duration) {
	rtt := math.Max(float64(d), 1)
	old := p.costAt(now, decay)
	since := float64(now.Sub(p.measured))
	switch {
	case failed:
		p.cost = math.Max(rtt, p.cost)
	case p.cost == 0 || rtt > old:
		p.cost = rtt
	default:
		keep := math.Exp(-since / float64(decay))
		p.cost = p.cost*keep + rtt*(1-keep)
	}
	p.measured = now
}

// costAt is the cost with the time since the last measurement taken off, so that an instance nobody
// dared to call is tried again.
func (p *peer) costAt(now time.Time, decay time.Duration) float64 {
	if p.cost == 0 {
		return 0
	}
	return math.Max(p.cost*math.Exp(-float64(now.Sub(p.measured))/float64(decay)), 1)
}

// share is the weight after slow start and suspicion.
func (p *peer) share(now time.Time, slowStart time.Duration) float64 {
	w := float64(DefaultWeight)
	if p.instance.Weight > 0 {
		w = float64(p.instance.Weight)
	}
	if p.instance.Status == Suspect {
		w /= 10
	}
	if !p.joined.IsZero() {
		if grown := float64(now.Sub(p.joined)) / float64(slowStart); grown < 1 {
			w *= math.Max(grown, 0.1)
		}
	}
	return w
}
