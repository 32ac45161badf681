package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/cleave-go/cleave/bench/internal/lanes"
)

func main() {
	if err := run(os.Stdout, lanes.Effort{Calls: 30_000, Least: 60, Most: 1_000, Enough: 10}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(w io.Writer, e lanes.Effort) error {
	fmt.Fprintf(w, "%s, %s/%s, %d CPUs; best of %d rounds or more\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), e.Least)
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	if err := lanes.Compare(out, e, "floor", floor()); err != nil {
		return err
	}
	for _, s := range sections {
		var contest []lanes.Lane
		for _, c := range s.contenders {
			call, f, err := s.ready(c)
			if err != nil {
				return err
			}
			contest = append(contest, lanes.Lane{Name: c.name, Run: func(n int) {
				ctx := context.Background()
				for range n {
					_ = call(ctx, f)
				}
			}})
		}
		if err := lanes.Compare(out, e, s.name, contest); err != nil {
			return err
		}
	}
	return nil
}

func floor() []lanes.Lane {
	var sum atomic.Uint64
	begin := time.Now()
	return []lanes.Lane{
		{Name: "time.Since", Run: func(n int) {
			for range n {
				_ = time.Since(begin)
			}
		}},
		{Name: "time.Now", Run: func(n int) {
			for range n {
				_ = time.Now()
			}
		}},
		{Name: "atomic addition", Run: func(n int) {
			for range n {
				sum.Add(1)
			}
		}},
	}
}
