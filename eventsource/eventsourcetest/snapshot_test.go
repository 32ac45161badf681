package eventsourcetest_test

import (
	"strings"
	"testing"

	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/eventsourcetest"
)

// tally is a state with all that JSON can lose.
type tally struct {
	Switched int
	Rooms    map[string]int
	secret   int
}

func tallies(evolve func(tally, lampEvent) tally, schema int) eventsource.Decider[tally, bool, lampEvent] {
	return eventsource.Decider[tally, bool, lampEvent]{
		Category: "lamp", Codec: lamp.Codec,
		Evolve: evolve, Snapshot: eventsource.Snapshot{Every: 2, Schema: schema},
	}
}

func count(s tally, _ lampEvent) tally { s.Switched++; return s }
func countOn(s tally, e lampEvent) tally {
	if e.(switched).On {
		s.Switched++
	}
	return s
}
func keepSecret(s tally, _ lampEvent) tally { s.secret++; return s }
func share(s tally, _ lampEvent) tally {
	if s.Rooms == nil {
		s.Rooms = map[string]int{}
	}
	s.Rooms["hall"]++
	return s
}

var lampHistory = []lampEvent{switched{true}, switched{false}, switched{true}}

// snapshots reports what SnapshotEquals says of a decider.
func snapshots(t *testing.T, dir string, d eventsource.Decider[tally, bool, lampEvent], histories ...[]lampEvent) string {
	t.Helper()
	r := &recorder{TB: t}
	eventsourcetest.SnapshotEquals(r, d, dir, histories...)
	return strings.Join(r.reported, "\n")
}

func TestTrapT20EvolveThatChangedWithoutAnotherSchemaIsNoticed(t *testing.T) {
	dir := t.TempDir()
	if got := snapshots(t, dir, tallies(count, 1), lampHistory); !strings.Contains(got, "CLEAVE_UPDATE=1") {
		t.Errorf("not frozen: reported %q", got)
	}
	t.Setenv("CLEAVE_UPDATE", "1")
	if got := snapshots(t, dir, tallies(count, 1), lampHistory); got != "" {
		t.Errorf("freezing: reported %q", got)
	}
	for _, update := range []string{"1", ""} {
		t.Setenv("CLEAVE_UPDATE", update)
		if got := snapshots(t, dir, tallies(count, 1), lampHistory); got != "" {
			t.Errorf("unchanged: reported %q", got)
		}
		got := snapshots(t, dir, tallies(countOn, 1), lampHistory)
		if !strings.Contains(got, "Raise Snapshot.Schema") || !strings.Contains(got, "- \t\"Switched\": 3") || !strings.Contains(got, "+ \t\"Switched\": 2") {
			t.Errorf("changed: reported %q", got)
		}
	}
	if got := snapshots(t, dir, tallies(countOn, 2), lampHistory); !strings.Contains(got, "schema 2: a history is not frozen yet") {
		t.Errorf("another schema: reported %q", got)
	}
	if got := snapshots(t, dir, tallies(count, 1), lampHistory, lampHistory[:1]); !strings.Contains(got, "not frozen yet") {
		t.Errorf("another history: reported %q", got)
	}
}

func TestAStateThatASnapshotCannotHoldIsNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		evolve func(tally, lampEvent) tally
		want   string
	}{
		"a field that is not exported":        {keepSecret, "holds something that its JSON does not"},
		"an Evolve that changes what it gets": {share, "that Evolve was given is changed"},
	} {
		if got := snapshots(t, t.TempDir(), tallies(c.evolve, 1), lampHistory); !strings.Contains(got, c.want) {
			t.Errorf("%s: reported %q, want %q in it", name, got, c.want)
		}
	}
}
