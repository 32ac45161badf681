package wire

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

// The processes that are started are this test's program.
func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		exit(child(role))
		return
	}
	os.Exit(m.Run())
}

func TestTheTableHasARowForEachContender(t *testing.T) {
	var out bytes.Buffer
	p := plan{contenders: contenders, callers: []int{2}, rounds: 1, length: 20 * time.Millisecond}
	if err := p.run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	for _, c := range contenders {
		if !strings.Contains(out.String(), c.Name+"  ") {
			t.Errorf("no row for %s:\n%s", c.Name, out.String())
		}
	}
}
