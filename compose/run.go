package compose

import (
	"context"
	"fmt"
	"sync"
)

// Run runs the parts and returns a Failure for each that is missing or fell
// back, in the order of parts. The error is nil or the *Failure of the first
// required part that failed; before anything runs, a sentence about parts
// that cannot be ordered.
func Run(ctx context.Context, o *Options, parts ...Part) ([]*Failure, error) {
	if len(parts) == 1 && len(parts[0].After) == 0 {
		return runOne(ctx, o, &parts[0])
	}
	r := &run{parts: parts, options: o, failures: make([]*Failure, len(parts)), done: make([]bool, len(parts))}
	if err := r.order(); err != nil {
		return nil, err
	}
	r.run(ctx)
	var missing []*Failure
	for _, f := range r.failures {
		if f != nil {
			missing = append(missing, f)
		}
	}
	if r.fatal != nil {
		return missing, r.fatal
	}
	return missing, nil
}

func runOne(ctx context.Context, o *Options, p *Part) ([]*Failure, error) {
	f := p.attempt(ctx, o)
	switch {
	case f == nil:
		return nil, nil
	case f.FellBack || p.Optional:
		return []*Failure{f}, nil
	}
	return []*Failure{f}, f
}

// run is the state of one Run.
type run struct {
	parts    []Part
	options  *Options
	waits    []int   // per part: how many parts before it have not ended
	next     [][]int // per part: the parts after it
	failures []*Failure
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu    sync.Mutex
	fatal *Failure
	done  []bool
}

// order counts who waits for whom and refuses what can never start.
func (r *run) order() error {
	index := make(map[string]int, len(r.parts))
	r.waits, r.next = make([]int, len(r.parts)), make([][]int, len(r.parts))
	for i, p := range r.parts {
		if _, twice := index[p.Name]; twice {
			return fmt.Errorf("two parts are named %q", p.Name)
		}
		index[p.Name] = i
	}
	for i, p := range r.parts {
		for _, name := range p.After {
			before, ok := index[name]
			if !ok {
				return fmt.Errorf("part %q comes after %q, which is not a part", p.Name, name)
			}
			r.waits[i]++
			r.next[before] = append(r.next[before], i)
		}
	}
	return r.acyclic()
}

func (r *run) acyclic() error {
	waits := append([]int(nil), r.waits...)
	var ready []int
	for i, n := range waits {
		if n == 0 {
			ready = append(ready, i)
		}
	}
	seen := 0
	for ; len(ready) > 0; seen++ {
		i := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		for _, j := range r.next[i] {
			if waits[j]--; waits[j] == 0 {
				ready = append(ready, j)
			}
		}
	}
	if seen == len(r.parts) {
		return nil
	}
	for i, n := range waits {
		if n > 0 {
			return fmt.Errorf("part %q waits for itself", r.parts[i].Name)
		}
	}
	return nil
}

func (r *run) run(ctx context.Context) {
	ctx, r.cancel = context.WithCancel(ctx)
	defer r.cancel()
	var first []int
	for i, n := range r.waits {
		if n == 0 {
			first = append(first, i)
		}
	}
	for _, i := range first {
		r.start(ctx, i)
	}
	r.wg.Wait()
}

func (r *run) start(ctx context.Context, i int) {
	r.wg.Go(func() {
		f := r.parts[i].attempt(ctx, r.options)
		for _, j := range r.end(i, f) {
			r.start(ctx, j)
		}
	})
}

// end records how part i ended and returns the parts that may start now.
func (r *run) end(i int, f *Failure) (ready []int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done[i], r.failures[i] = true, f
	missing := f != nil && !f.FellBack
	if missing && !r.parts[i].Optional {
		r.fail(f)
	}
	for _, j := range r.next[i] {
		if r.waits[j]--; r.done[j] || r.fatal != nil {
			continue
		}
		if missing {
			skipped := r.parts[j].failure(r.options, ErrSkipped, 0)
			r.skip(j, skipped)
			continue
		}
		if r.waits[j] == 0 {
			ready = append(ready, j)
		}
	}
	return ready
}

// fail ends the run; the first failure is the one reported.
func (r *run) fail(f *Failure) {
	if r.fatal == nil {
		r.fatal = f
		r.cancel()
	}
}

// skip ends part j, and what comes after it, without running it.
func (r *run) skip(j int, f *Failure) {
	if r.done[j] {
		return
	}
	r.done[j], r.failures[j] = true, f
	if !r.parts[j].Optional {
		r.fail(f)
	}
	for _, k := range r.next[j] {
		r.skip(k, r.parts[k].failure(r.options, ErrSkipped, 0))
	}
}
