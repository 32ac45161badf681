package contract_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/contract/contracttest"
)

// fake is a test inside the test: it may fail.
type fake = contracttest.T

var run = contracttest.Run

// passes fails the real test unless the fake one passed without a word.
func passes(t *testing.T, f *fake) {
	t.Helper()
	if f.Failed() || f.Output() != "" {
		t.Fatalf("%s: failed %v, printed:\n%s", f.Name(), f.Failed(), f.Output())
	}
}

// failsWith fails the real test unless the fake one failed with these words.
func failsWith(t *testing.T, f *fake, words ...string) {
	t.Helper()
	if !f.Failed() {
		t.Fatalf("%s passed", f.Name())
	}
	for _, w := range words {
		if !strings.Contains(f.Output(), w) {
			t.Errorf("%s does not say\n%s\nbut\n%s", f.Name(), w, f.Output())
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
