package compose

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// Part is one piece of an answer, usually one call to one service.
type Part struct {
	// Name says which piece it is, the same in Failure and in After. Unique in a run.
	Name string
	// Service is who answers it, for the Failure. Default: none.
	Service string
	// After names the parts whose results Do reads. Default: none.
	After []string
	// Optional parts may be missing from the answer. Default: the part is
	// required, and its failure is the failure of the run.
	Optional bool
	// Timeout is the most the part may take; negative: all that the context
	// allows, also for an optional part. Default: no limit of its own.
	Timeout time.Duration
	// Do fetches the part and stores it where the caller will look.
	Do func(ctx context.Context) error
	// Fallback stores something in place of a part that failed. When it returns
	// an error too, the part has failed with its cause. Default: none.
	Fallback func(cause error) error
}

// Failure is the record of one part that is missing or was replaced by its fallback.
type Failure struct {
	Part      string
	Service   string
	Code      string
	Retryable bool
	Elapsed   time.Duration
	// FellBack says that the part's fallback stands in for it.
	FellBack bool
	Err      error
}

// Error names the part and the cause.
func (f *Failure) Error() string { return f.Part + ": " + f.Err.Error() }

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Options adjusts a run.
type Options struct {
	// Classify gives the code of an error and whether trying again may help.
	// Default: TIMEOUT and CANCELED for the context's errors, else FAILED; a
	// timeout may be tried again.
	Classify func(error) (code string, retryable bool)
}

// PanicError is the failure of a part that panicked.
type PanicError struct {
	Value any
	Stack []byte
}

// Error names the panic's value.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// ErrSkipped is the cause of an optional part that never ran because a part
// before it is missing.
var ErrSkipped = errors.New("a part it needs is missing")

// optionalShare is how much of the time left an optional part may use.
const optionalShare = 0.8

// do runs the part under its slice of the deadline and turns a panic into an error.
func (p *Part) do(ctx context.Context) (err error) {
	ctx, cancel := p.limit(ctx)
	defer cancel()
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	if err := ctx.Err(); err != nil {
		return err
	}
	return p.Do(ctx)
}

// limit gives the part its slice of the time left.
func (p *Part) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := p.Timeout
	if deadline, ok := ctx.Deadline(); ok && p.Optional && limit >= 0 {
		share := max(time.Duration(float64(time.Until(deadline))*optionalShare), 1)
		if limit == 0 || share < limit {
			limit = share
		}
	}
	if limit <= 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, limit)
}

// attempt runs the part and its fallback. A nil failure means all is well.
func (p *Part) attempt(ctx context.Context, o *Options) *Failure {
	start := time.Now()
	err := p.do(ctx)
	if err == nil {
		return nil
	}
	f := p.failure(o, err, time.Since(start))
	if p.Fallback != nil && p.Fallback(err) == nil {
		f.FellBack = true
	}
	return f
}

func (p *Part) failure(o *Options, err error, elapsed time.Duration) *Failure {
	f := &Failure{Part: p.Name, Service: p.Service, Elapsed: elapsed, Err: err}
	if o != nil && o.Classify != nil {
		f.Code, f.Retryable = o.Classify(err)
	} else {
		f.Code, f.Retryable = classify(err)
	}
	return f
}

func classify(err error) (code string, retryable bool) {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "TIMEOUT", true
	case errors.Is(err, context.Canceled):
		return "CANCELED", false
	case errors.Is(err, ErrSkipped):
		return "SKIPPED", false
	}
	return "FAILED", false
}
