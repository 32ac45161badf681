package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTheTableHasEverySection(t *testing.T) {
	var out bytes.Buffer
	e := effort{rounds: 1, round: 20 * time.Millisecond, records: 2000, rate: 100, timed: 300 * time.Millisecond, rebuild: 2000}
	if err := run(t.Context(), &out, t.TempDir(), "", e); err != nil && !errors.Is(err, errGate) { // too short to tell
		t.Fatal(err)
	}
	for _, s := range sections {
		if !strings.Contains(out.String(), s.name) {
			t.Errorf("%s is missing in\n%s", s.name, out.String())
		}
	}
	for _, want := range []string{"commit to consumer", "rebuild of 2000 events"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}
