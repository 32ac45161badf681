package limit

import (
	"math"
	"math/rand/v2"
	"time"
)

// gradient moves a limit by how long calls take, compared with how long they take at rest. It is a function of
// what it is told; times are nanoseconds.
//
// With a limit L and a mean gradient g, which is 1 while calls take up to tolerance times as long as at rest and
// falls with their inverse, the limit goes a fifth of the way to L·g + √L each time. A resource that works on c
// calls at a time has its fixed point at L = tolerance·c + √L: always busy, and no call waits for much longer than
// tolerance times the time it needs.
type gradient struct {
	limit, least, most float64
	tolerance          float64
	starting           bool // nothing has been slow yet: go all the way

	since int64 // calls that began before say nothing about the limit as it is
	sum   float64
	n     int
	peak  int // most in use since

	every     int64 // between probes, at least
	mean      float64
	probing   int   // calls at rest that are still to be measured; 0: not probing
	probeEnd  int64 // at the latest
	lastQuiet int64
	patience  int64   // without a call at rest
	measured  float64 // the limit when calls were last seen at rest
}

// kind is how long calls of one kind take at rest: the mean of the latest.
type kind struct {
	rest float64
	n    int
}

func (k *kind) add(took float64) {
	k.n = min(k.n+1, restSamples)
	k.rest += (took - k.rest) / float64(k.n)
}

const (
	windowSamples = 10
	restSamples   = 20
	probeSamples  = 40
	steepest      = 0.5
	smoothing     = 0.2
	slowProbes    = 200 // times the time that calls take, between probes
	fellWait      = 20  // the same, before one because the limit fell
)

// quiet is up to how many calls under way are at rest: where the limit has settled, more than the resource
// works on at a time are two thirds of it.
func (g *gradient) quiet() int { return max(int(g.limit/3), 1) }

// served takes the time of a call. Calls at rest say how long calls take; the others, whether that is too long.
func (g *gradient) served(now, start int64, k *kind, quiet bool, inUse int) {
	took := float64(max(now-start, 1))
	if g.mean == 0 {
		g.mean = took
	}
	g.mean += (took - g.mean) / restSamples
	slope := 1.0
	if k.n > 0 {
		slope = min(max(g.tolerance*k.rest/took, steepest), 1)
	}
	if quiet || k.n == 0 {
		k.add(took)
	}
	if quiet {
		g.lastQuiet, g.measured = now, g.limit
		if g.probing > 0 {
			g.probing--
		}
		return
	}
	g.sample(now, start, slope, inUse)
}

// sample takes one call's gradient; enough of them move the limit.
func (g *gradient) sample(now, start int64, slope float64, inUse int) {
	if start < g.since {
		return
	}
	g.sum += slope
	if g.n++; g.n < windowSamples {
		return
	}
	slope = g.sum / float64(g.n)
	if slope < 0.9 {
		g.starting = false
	}
	step := g.limit*(slope-1) + math.Sqrt(g.limit)
	if !g.starting {
		step *= smoothing
	}
	if step < 0 || float64(g.peak) > g.limit/2 { // what nobody uses proves nothing
		g.limit = min(max(g.limit+step, g.least), g.most)
	}
	g.since, g.sum, g.n, g.peak = now, 0, 0, inUse
}

// advance begins and ends probes.
func (g *gradient) advance(now int64) {
	if g.probing > 0 {
		if now >= g.probeEnd {
			g.probing = 0
			g.lastQuiet, g.measured = now, g.limit
		}
		return
	}
	if g.patience == 0 { // by chance, so that not all instances probe at once
		g.patience = int64(float64(max(g.every, int64(slowProbes*g.mean))) * (0.75 + rand.Float64()/2))
	}
	fell := g.limit <= g.measured/2 && now-g.lastQuiet > int64(fellWait*g.mean) // too far to be believed at once
	if fell || now-g.lastQuiet > g.patience {
		g.probing = probeSamples
		g.probeEnd = now + max(int64(20*g.mean), int64(10*time.Millisecond))
		g.patience = 0
	}
}
