package breaker

import (
	"math"
	"time"
)

// A phase is one stay in one state, and the generation a result belongs to: a permit remembers its
// phase, and what it reports counts only while that phase is the current one. state, mode, until and
// refusal never change; the rest is guarded by the breaker's lock.
type phase struct {
	state   State
	mode    Mode
	until   int64      // open: when probes may go out
	refusal *OpenError // open and half-open: the answer to calls turned away

	win    window // closed
	warned bool   // metrics only: the excess has been reported

	probes  []probe // half-open
	settled tally   // of them
	timeout time.Duration
}

type probe struct {
	start int64
	state uint8
}

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
	note     func(at int64, from, to *phase, why Reason)
	publish  func(*phase)
	at       func(int64) time.Time
}

func (m *machine) change(now int64, to *phase, why Reason) {
	from := m.cur
	m.cur = to
	m.publish(to)
	if from != nil {
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

func (m *machine) halfOpen(now int64) {
	timeout := m.opts.ProbeTimeout
	if timeout == 0 {
		timeout = min(max(m.openFor, time.Second), time.Minute)
	}
	m.change(now, &phase{
		state: HalfOpen, mode: Auto, timeout: timeout,
		refusal: &OpenError{Breaker: m.name, State: HalfOpen},
		probes:  make([]probe, m.opts.Probes),
	}, OpenElapsed)
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
		m.halfOpen(now)
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

// settle takes a call's result; it reports false for one of an older phase.
func (m *machine) settle(now int64, p *phase, slot int, start int64, out Outcome) bool {
	m.advance(now)
	if p != m.cur {
		return false
	}
	failed, slow := out == Failure, m.opts.slow(time.Duration(now-start))
	switch {
	case p.state == HalfOpen:
		pr := &p.probes[slot]
		if pr.state != probeRunning || pr.start != start {
			return false
		}
		if out == Ignored {
			pr.state = probeFree
			return true
		}
		m.settleProbe(now, slot, failed, slow)
	case out != Ignored:
		p.win.add(now, failed, slow)
		if p.win.sum.calls >= int64(m.opts.MinCalls) {
			m.judge(now, p)
		}
	}
	return true
}

func (m *machine) judge(now int64, p *phase) {
	why, exceeded := p.win.sum.exceeds(&m.opts)
	switch {
	case !exceeded:
		p.warned = false
	case p.mode == Auto:
		m.reopen(now, why)
	case !p.warned:
		p.warned = true
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
