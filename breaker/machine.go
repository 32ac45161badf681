package breaker

import (
	"math"
	"sync/atomic"
	"time"
)

// A phase is one stay in one state, and the generation a result belongs to: a permit remembers its
// phase, and what it reports counts only while that phase is the current one. Atomic fields are
// open to all; state, mode, until and refusal never change; the rest is guarded by the breaker's lock.
type phase struct {
	state   State
	mode    Mode
	until   int64      // open: when probes may go out
	refusal *OpenError // open and half-open: the answer to calls turned away

	near  atomic.Bool // open: its time may be over, ask the clock
	alarm *time.Timer // open: sets near; nil if near from the start or for ever

	calm   atomic.Int64 // closed: until then, exclusive, a quick success decides nothing
	win    window       // closed
	warned Reason       // metrics only: the excess that has been reported

	probes  []probe // half-open
	settled tally   // of them
	timeout time.Duration

	_         [64]byte      // what every call reads stays apart from what most write
	successes atomic.Uint64 // closed: quick ones that are not in win yet
}

// quick counts a success that was not slow, without the lock, as long as it can change nothing but
// numbers. Unless all is done then, the lock has to be taken: quick adds before it looks again, collect
// ends the calm before it takes, so that one of the two sees the other.
func (p *phase) quick(now int64) (counted, done bool) {
	if now >= p.calm.Load() {
		return false, false
	}
	p.successes.Add(1)
	return true, now < p.calm.Load()
}

type probe struct {
	start int64
	state uint8
}

// is reports whether p is the running probe that began at start.
func (p *probe) is(start int64) bool { return p.state == probeRunning && p.start == start }

const (
	probeFree uint8 = iota
	probeRunning
	probeSettled
)

// machine is the breaker without lock and clock: each method is given the time. Changes are told to
// note, at the moment they took effect.
type machine struct {
	name     string
	opts     Options
	cur      *phase
	openings int           // since last closed
	openFor  time.Duration // of the latest opening
	total    Totals
	note     func(at int64, from, to *phase, why Reason)
	publish  func(*phase)
	at       func(int64) time.Time
}

func (m *machine) change(now int64, to *phase, why Reason) {
	from := m.cur
	m.cur = to
	m.publish(to)
	same := from != nil && from.state == to.state && from.mode == to.mode
	if to.state == Open && to.mode == Auto && !same {
		m.total.Openings++
	}
	if from != nil && (!same || why == WasReset) {
		m.note(now, from, to, why)
	}
}

func (m *machine) closed(now int64, mode Mode, why Reason) {
	m.openings = 0
	m.change(now, &phase{state: Closed, mode: mode, win: newWindow(m.opts.Window, now)}, why)
}

func (m *machine) open(now int64, d time.Duration, why Reason) {
	m.openFor = min(max(d, minOpen), maxOpen)
	until := now + int64(m.openFor)
	m.change(now, &phase{
		state: Open, mode: Auto, until: until,
		refusal: &OpenError{Breaker: m.name, State: Open, until: m.at(until)},
	}, why)
}

func (m *machine) reopen(now int64, why Reason) {
	if m.openings < math.MaxInt32 {
		m.openings++
	}
	m.open(now, m.opts.OpenFor(m.openings), why)
}

func (m *machine) forcedOpen(now int64) {
	m.openings = 0
	m.change(now, &phase{
		state: Open, mode: ForcedOpen, until: math.MaxInt64,
		refusal: &OpenError{Breaker: m.name, State: Open},
	}, ModeChanged)
}

func (m *machine) halfOpen(now int64, why Reason) {
	timeout := m.opts.ProbeTimeout
	if timeout == 0 {
		timeout = min(max(m.openFor, time.Second), time.Minute)
	}
	m.change(now, &phase{
		state: HalfOpen, mode: Auto, timeout: timeout,
		refusal: &OpenError{Breaker: m.name, State: HalfOpen},
		probes:  make([]probe, m.opts.Probes),
	}, why)
}

// advance lets time pass: probes that hang have failed at the moment of their timeout, however late
// anybody looks.
func (m *machine) advance(now int64) {
	for m.cur.state == HalfOpen {
		p, oldest := m.cur, -1
		for i, pr := range p.probes {
			if pr.state == probeRunning && (oldest < 0 || pr.start < p.probes[oldest].start) {
				oldest = i
			}
		}
		if oldest < 0 || now-p.probes[oldest].start < int64(p.timeout) {
			return
		}
		m.settleProbe(p.probes[oldest].start+int64(p.timeout), oldest, true, m.opts.slow(p.timeout))
	}
}

// acquire admits a call or answers the error to refuse it with. The slot is the probe's place.
func (m *machine) acquire(now int64) (p *phase, slot int, refusal *OpenError) {
	m.advance(now)
	if m.cur.state == Open && now >= m.cur.until {
		m.halfOpen(now, OpenElapsed)
	}
	p = m.cur
	switch p.state {
	case Open:
		return nil, 0, p.refusal
	case HalfOpen:
		for i := range p.probes {
			if p.probes[i].state == probeFree {
				p.probes[i] = probe{start: now, state: probeRunning}
				return p, i, nil
			}
		}
		return nil, 0, p.refusal
	}
	return p, 0, nil
}

// collect ends the calm of p and takes what quick has counted.
func (m *machine) collect(p *phase) {
	p.calm.Store(0)
	n := p.successes.Swap(0)
	if p != m.cur {
		m.total.Late += n
	} else if n > 0 {
		m.total.Succeeded += n
		p.win.addSuccesses(n)
	}
}

// relax begins a calm if one more success could not open the breaker: it only lowers the rates, except
// by making the window large enough to be judged, and except when a time window moves on.
func (m *machine) relax() {
	p := m.cur
	if p.state != Closed || p.mode == Disabled || p.warned != "" {
		return
	}
	sum := &p.win.sum
	if sum.failures+sum.slow == 0 {
		p.calm.Store(p.win.end())
	} else if sum.calls >= int64(m.opts.MinCalls) {
		if _, exceeded := sum.exceeds(&m.opts); !exceeded {
			p.calm.Store(p.win.end())
		}
	}
}

// settleQuick judges a success that quick has counted but collect may not have seen.
func (m *machine) settleQuick(now int64, p *phase) {
	if p != m.cur {
		m.collect(p)
		return
	}
	p.win.advance(now)
	m.judge(now, p)
}

// settle takes a call's result; one of an older phase is only counted as late.
func (m *machine) settle(now int64, p *phase, slot int, start int64, out Outcome) {
	m.advance(now)
	if p != m.cur || p.state == HalfOpen && !p.probes[slot].is(start) {
		m.total.Late++
		return
	}
	m.total.add(out)
	failed, slow := out == Failure, m.opts.slow(time.Duration(now-start))
	switch {
	case p.state == HalfOpen && out == Ignored:
		p.probes[slot].state = probeFree
	case p.state == HalfOpen:
		m.settleProbe(now, slot, failed, slow)
	case out != Ignored:
		p.win.add(now, failed, slow)
		m.judge(now, p)
	}
}

func (m *machine) judge(now int64, p *phase) {
	if p.win.sum.calls < int64(m.opts.MinCalls) {
		return
	}
	why, exceeded := p.win.sum.exceeds(&m.opts)
	switch {
	case !exceeded:
		p.warned = ""
	case p.mode == Auto:
		m.reopen(now, why)
	case why != p.warned:
		p.warned = why
		m.note(now, p, p, why)
	}
}

func (m *machine) settleProbe(now int64, slot int, failed, slow bool) {
	p := m.cur
	p.probes[slot].state = probeSettled
	p.settled.calls++
	if failed {
		p.settled.failures++
	}
	if slow {
		p.settled.slow++
	}
	if int(p.settled.calls) < len(p.probes) {
		return
	}
	if why, exceeded := p.settled.exceeds(&m.opts); exceeded {
		m.reopen(now, why)
		return
	}
	m.closed(now, Auto, ProbesPassed)
}
