package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"
)

// A round is so many calls: about a millisecond.
const calls = 30_000

// effort says how many rounds there are: at least some, and more until enough of them had all CPUs at work.
type effort struct{ least, most, enough int }

func main() {
	if err := run(os.Stdout, effort{least: 60, most: 1_000, enough: 10}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(w io.Writer, e effort) error {
	fmt.Fprintf(w, "%s, %s/%s, %d CPUs; best of %d rounds or more\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), e.least)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if err := compare(out, e, "floor", floor()); err != nil {
		return err
	}
	for _, s := range sections {
		var lanes []lane
		for _, c := range s.contenders {
			call, f, err := s.ready(c)
			if err != nil {
				return err
			}
			lanes = append(lanes, lane{c.name, func(n int) {
				ctx := context.Background()
				for range n {
					_ = call(ctx, f)
				}
			}})
		}
		if err := compare(out, e, s.name, lanes); err != nil {
			return err
		}
	}
	return nil
}

// lane does something n times.
type lane struct {
	name string
	run  func(n int)
}

func floor() []lane {
	var sum atomic.Uint64
	begin := time.Now()
	return []lane{
		{"time.Since", func(n int) {
			for range n {
				_ = time.Since(begin)
			}
		}},
		{"time.Now", func(n int) {
			for range n {
				_ = time.Now()
			}
		}},
		{"atomic addition", func(n int) {
			for range n {
				sum.Add(1)
			}
		}},
	}
}

// compare prints what a call costs in each lane, alone and on all CPUs at once, and how that compares with
// the first.
func compare(out *tabwriter.Writer, e effort, title string, lanes []lane) error {
	alone, together := make([]best, len(lanes)), make([]best, len(lanes))
	for i := range e.most {
		if i >= e.least && slices.MinFunc(together, byRounds).rounds >= e.enough {
			break
		}
		for i, l := range lanes {
			alone[i].take(measure(1, l.run))
			together[i].take(measure(runtime.GOMAXPROCS(0), l.run))
		}
	}
	fmt.Fprintf(out, "\n%s\tns\tratio\tparallel ns\tratio\tallocs\t\n", title)
	for i, l := range lanes {
		fmt.Fprintf(out, "%s\t%.1f\t%.2f\t%.1f\t%.2f\t%.0f\t\n", l.name, alone[i].ns, alone[i].ns/alone[0].ns,
			together[i].ns, together[i].ns/together[0].ns, testing.AllocsPerRun(100, func() { l.run(100) })/100)
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
func measure(workers int, f func(n int)) float64 {
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
	return float64(all.Nanoseconds()) / calls
}
