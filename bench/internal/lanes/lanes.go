// Package lanes measures contenders side by side in one run. Rounds are rotated and the best of each counts,
// because other work of the machine only makes a call slower.
package lanes

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"
)

// Effort says how many calls a round has, some milliseconds' worth, and how many rounds there are: at least
// Least, and more until Enough of them had all CPUs at work.
type Effort struct{ Calls, Least, Most, Enough int }

// Lane does something n times.
type Lane struct {
	Name string
	Run  func(n int)
}

// Compare prints what a call costs in each lane, alone and on all CPUs at once, and how that compares with
// the first.
func Compare(out *tabwriter.Writer, e Effort, title string, lanes []Lane) error {
	alone, together := make([]best, len(lanes)), make([]best, len(lanes))
	for i := range e.Most {
		if i >= e.Least && slices.MinFunc(together, byRounds).rounds >= e.Enough {
			break
		}
		for i, l := range lanes {
			alone[i].take(measure(1, e.Calls, l.Run))
			together[i].take(measure(runtime.GOMAXPROCS(0), e.Calls, l.Run))
		}
	}
	fmt.Fprintf(out, "\n%s\tns\tratio\tparallel ns\tratio\tallocs\t\n", title)
	for i, l := range lanes {
		fmt.Fprintf(out, "%s\t%.1f\t%.2f\t%.1f\t%.2f\t%.0f\t\n", l.Name, alone[i].ns, alone[i].ns/alone[0].ns,
			together[i].ns, together[i].ns/together[0].ns, testing.AllocsPerRun(100, func() { l.Run(100) })/100)
	}
	return out.Flush()
}

// best is the least of some rounds.
type best struct {
	rounds int
	ns     float64
}

func byRounds(a, b best) int { return a.rounds - b.rounds }

// take notes a round, unless it failed.
func (b *best) take(ns float64) {
	if ns == 0 {
		return
	}
	if b.rounds++; b.rounds == 1 || ns < b.ns {
		b.ns = ns
	}
}

// measure returns the nanoseconds per call of calls shared by so many workers, 0 if they were not at work
// at the same time. They wait for each other without giving up their CPUs; but the machine may have taken
// one away, and what ran alone has not met the others.
func measure(workers, calls int, f func(n int)) float64 {
	var running atomic.Int64
	var done sync.WaitGroup
	began, ended := make([]time.Duration, workers), make([]time.Duration, workers)
	start := time.Now()
	for i := range workers {
		done.Go(func() {
			for running.Add(1); running.Load() < int64(workers); {
			}
			began[i] = time.Since(start)
			f(calls / workers)
			ended[i] = time.Since(start)
		})
	}
	done.Wait()
	all, common := slices.Max(ended)-slices.Min(began), slices.Min(ended)-slices.Max(began)
	if common < all*8/10 {
		return 0
	}
	return float64(all.Nanoseconds()) / float64(calls)
}
