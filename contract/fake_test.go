package contract_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// fake is a test inside the test: it may fail.
type fake struct {
	name string
	mu   sync.Mutex
	text []string
	fail bool
	end  []func()
	subs []string
}

// run runs f as a test would be, with its cleanups.
func run(name string, f func(t *fake)) *fake {
	t := &fake{name: name}
	t.do(func() { f(t) })
	return t
}

func (t *fake) do(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for i := len(t.end) - 1; i >= 0; i-- {
				t.end[i]()
			}
		}()
		f()
	}()
	<-done
}

func (t *fake) Helper()                  {}
func (t *fake) Name() string             { return t.name }
func (t *fake) Cleanup(f func())         { t.end = append(t.end, f) }
func (t *fake) Context() context.Context { return context.Background() }

func (t *fake) Failed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fail
}

func (t *fake) Logf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, fmt.Sprintf(format, args...))
}

func (t *fake) Errorf(format string, args ...any) {
	t.Logf(format, args...)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.fail = true
}

func (t *fake) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

func (t *fake) Run(name string, f func(*fake)) bool {
	sub := run(t.name+"/"+name, f)
	t.subs = append(t.subs, name)
	if sub.output() != "" {
		t.Logf("%s", sub.output())
	}
	if sub.Failed() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.fail = true
	}
	return !sub.fail
}

func (t *fake) output() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.text, "\n")
}

// passes fails the real test unless the fake one passed without a word.
func passes(t *testing.T, f *fake) {
	t.Helper()
	if f.Failed() || f.output() != "" {
		t.Fatalf("%s: failed %v, printed:\n%s", f.name, f.Failed(), f.output())
	}
}

// failsWith fails the real test unless the fake one failed with these words.
func failsWith(t *testing.T, f *fake, words ...string) {
	t.Helper()
	if !f.Failed() {
		t.Fatalf("%s passed", f.name)
	}
	for _, w := range words {
		if !strings.Contains(f.output(), w) {
			t.Errorf("%s does not say\n%s\nbut\n%s", f.name, w, f.output())
		}
	}
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
