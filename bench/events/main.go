package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	_ "modernc.org/sqlite"
)

// effort says how much is measured.
type effort struct {
	rounds  int
	round   time.Duration // of appends
	records int           // that are read, relayed and projected in a round
	rate    int           // events a second whose way is timed
	timed   time.Duration
	rebuild int    // events; 0: none
	url     string // of an empty database of PostgreSQL; empty: none
}

func main() {
	e := effort{rounds: 5, round: 2 * time.Second, records: 50_000, rate: 1000, timed: 10 * time.Second, rebuild: 1_000_000}
	dir := flag.String("dir", "", "folder for databases, on the disk to be measured (default: that of temporary files)")
	only := flag.String("only", "", "only the sections with this in their name, or latency, or rebuild")
	flag.StringVar(&e.url, "postgres", "", "URL of an empty database of PostgreSQL, to measure that too")
	flag.IntVar(&e.rounds, "rounds", e.rounds, "rounds, of which the best counts")
	flag.IntVar(&e.rebuild, "rebuild", e.rebuild, "events of the rebuild, 0 for none")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, *dir, *only, e); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// errGate says that a ratio is below what it has to be.
var errGate = errors.New("a gate is missed")

// lane does something and returns how often in a second.
type lane struct {
	name string
	run  func(ctx context.Context) (float64, error)
}

// section compares lanes with the first, the raw one.
type section struct {
	name  string
	gate  float64 // the least ratio of the last lane
	lanes func(ctx context.Context, b *bench) ([]lane, error)
}

var sections = []section{
	{"append, one caller", 1 / 1.3, appendAlone},
	{"append, 64 callers", 0.65, appendTogether},
	{"read a stream of 1,000", 0.8, readStream},
	{"feed", 0.8, readFeed},
	{"relay to JetStream", 0.6, relay},
	{"projection with checkpoint", 0.5, project},
}

// bench is what sections share.
type bench struct {
	effort
	dir string
	n   int // databases made
}

func run(ctx context.Context, w io.Writer, dir, only string, e effort) error {
	dir, err := os.MkdirTemp(dir, "events-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	fmt.Fprintf(w, "%s, %s/%s, %d CPUs; SQLite with fsync; best of %d rounds\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), e.rounds)
	b := &bench{effort: e, dir: dir}
	var missed error
	all := sections
	if e.url != "" {
		all = slices.Concat(sections, onPostgres)
	}
	for _, s := range all {
		if only != "" && !strings.Contains(s.name, only) {
			continue
		}
		if err := s.compare(ctx, w, b); errors.Is(err, errGate) {
			missed = errors.Join(missed, fmt.Errorf("%s: %w", s.name, err))
		} else if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if only == "" || only == "latency" {
		if err := b.latency(ctx, w); err != nil {
			return err
		}
	}
	if e.rebuild > 0 && (only == "" || only == "rebuild") {
		if err := b.rebuilt(ctx, w); err != nil {
			return err
		}
	}
	return missed
}

func (s section) compare(ctx context.Context, w io.Writer, b *bench) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lanes, err := s.lanes(ctx, b)
	if err != nil {
		return err
	}
	best := make([]float64, len(lanes))
	for range b.rounds {
		for i, l := range lanes {
			rate, err := l.run(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			best[i] = max(best[i], rate)
		}
	}
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(out, "\n%s\ta second\tratio\tgate\t\n", s.name)
	for i, l := range lanes {
		gate := ""
		if i == len(lanes)-1 {
			gate = fmt.Sprintf("%.2f", s.gate)
		}
		fmt.Fprintf(out, "%s\t%.0f\t%.2f\t%s\t\n", l.name, best[i], best[i]/best[0], gate)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if ratio := best[len(best)-1] / best[0]; ratio < s.gate {
		return fmt.Errorf("%w: %.2f, wanted %.2f", errGate, ratio, s.gate)
	}
	return nil
}
