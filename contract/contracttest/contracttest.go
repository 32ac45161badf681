// Package contracttest runs contract tests that are expected to fail.
//
// # What it is for
//
// That a broken provider does not pass is itself worth a test. Run gives the
// tests of package contract something that stands for a *testing.T, and returns
// what they said:
//
//	broken := contracttest.Run("TestPromises", func(t *contracttest.T) {
//		contract.Verify(t, "order", contract.Dir("contracts"), contract.Handler(brokenServer))
//	})
//	if !broken.Failed() { … }
//
// # Guarantees
//
//   - Run returns after the function and its cleanups have ended, also when they
//     end by Fatalf.
//   - Nothing reaches the real test.
//
// # What the caller owes
//
// No panics: they are not caught.
//
// # Debugging
//
// Output is all that was reported, in order.
//
// # How to test code that uses it
//
// It is test code.
package contracttest

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"

	"github.com/cleave-go/cleave/contract"
)

// T stands for a *testing.T. It is safe for concurrent use.
type T struct {
	name   string
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	said     []string
	failed   bool
	cleanups []func()
	subtests []string
}

var _ contract.Runner[*T] = (*T)(nil)

// Run runs f as a test of that name, with its cleanups.
func Run(name string, f func(t *T)) *T {
	t := &T{name: name}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer t.cleanUp()
		f(t)
	}()
	<-done
	return t
}

func (t *T) cleanUp() {
	t.cancel()
	for {
		t.mu.Lock()
		n := len(t.cleanups)
		if n == 0 {
			t.mu.Unlock()
			return
		}
		f := t.cleanups[n-1]
		t.cleanups = t.cleanups[:n-1]
		t.mu.Unlock()
		f()
	}
}

// Helper does nothing.
func (t *T) Helper() {}

// Name returns the test's name.
func (t *T) Name() string { return t.name }

// Context returns a context that ends before the cleanups.
func (t *T) Context() context.Context { return t.ctx }

// Cleanup has f called when the test has ended, the last one first.
func (t *T) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

// Failed reports whether the test or a subtest has failed.
func (t *T) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.failed
}

// Logf reports something.
func (t *T) Logf(format string, args ...any) { t.say(fmt.Sprintf(format, args...), false) }

// Errorf reports something and fails the test.
func (t *T) Errorf(format string, args ...any) { t.say(fmt.Sprintf(format, args...), true) }

// Fatalf reports something, fails the test and ends its function.
func (t *T) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

func (t *T) say(text string, failed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if text != "" {
		t.said = append(t.said, text)
	}
	t.failed = t.failed || failed
}

// Run runs f as a subtest and reports whether it passed.
func (t *T) Run(name string, f func(t *T)) bool {
	sub := Run(t.name+"/"+name, f)
	t.say(sub.Output(), sub.Failed())
	t.mu.Lock()
	defer t.mu.Unlock()
	t.subtests = append(t.subtests, name)
	return !sub.Failed()
}

// Output returns what the test and its subtests reported.
func (t *T) Output() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.said, "\n")
}

// Subtests returns the names of the subtests that ran.
func (t *T) Subtests() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]string(nil), t.subtests...)
}
