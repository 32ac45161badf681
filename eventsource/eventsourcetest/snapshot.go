package eventsourcetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/cleave-go/cleave/event/eventtest"
	"github.com/cleave-go/cleave/eventsource"
)

// frozenHistory is a history with the state that it makes, as kept in a file.
type frozenHistory struct {
	Events []frozenEvent
	State  json.RawMessage
}

type frozenEvent struct {
	Type   string
	Schema int
	Data   json.RawMessage
}

// SnapshotEquals fails t unless, for each history, the state that begins with a
// snapshot after any of its events is the one that all events make; and unless
// Evolve makes the state that it made when the snapshot's schema was frozen, in
// the file CATEGORY.snapshot.vSCHEMA.json of dir, which is committed. Histories
// that are not in it are added by
//
//	CLEAVE_UPDATE=1 go test ./...
//
// which changes none that are. When it fails because Evolve or the state was
// changed, raise Snapshot.Schema, delete the file and write the new one.
func SnapshotEquals[S, C, E any](t testing.TB, d eventsource.Decider[S, C, E], dir string, histories ...[]E) {
	t.Helper()
	if d.Snapshot.Schema < 1 || len(histories) == 0 {
		t.Fatal("eventsourcetest: SnapshotEquals needs a decider with a Snapshot, and a history")
	}
	sp := For(t, d)
	now := make([]frozenHistory, len(histories))
	for i, h := range histories {
		events := sp.recorded(h)
		state, err := throughSnapshots(d, events)
		if err != nil {
			t.Errorf("history %d: %v", i+1, err)
			return
		}
		now[i].State = state
		for _, e := range events {
			rec, err := d.Codec.Encode(e)
			if err != nil {
				t.Fatalf("eventsourcetest: %v", err)
			}
			now[i].Events = append(now[i].Events, frozenEvent{rec.Type, rec.Schema, rec.Data})
		}
	}
	file := filepath.Join(dir, fmt.Sprintf("%s.snapshot.v%d.json", d.Category, d.Snapshot.Schema))
	if err := compare(file, d.Snapshot.Schema, now); err != nil {
		t.Errorf("eventsourcetest: snapshots of %s: %v", d.Category, err)
	}
}

// throughSnapshots returns the state that events make, as JSON, or how one that
// begins with a snapshot is another.
func throughSnapshots[S, C, E any](d eventsource.Decider[S, C, E], events []E) (json.RawMessage, error) {
	fold := func(s S, events []E) S {
		for _, e := range events {
			s = d.Evolve(s, e)
		}
		return s
	}
	whole := fold(d.Initial, events)
	want, err := json.Marshal(whole)
	if err != nil {
		return nil, fmt.Errorf("the state is no JSON: %w", err)
	}
	for n := range len(events) + 1 {
		before := fold(d.Initial, events[:n])
		kept, err := json.Marshal(before)
		if err != nil {
			return nil, fmt.Errorf("the state after event %d is no JSON: %w", n, err)
		}
		var snapshot S
		if err := json.Unmarshal(kept, &snapshot); err != nil {
			return nil, fmt.Errorf("the state after event %d cannot be read again: %w", n, err)
		}
		state := fold(snapshot, events[n:])
		got, err := json.Marshal(state)
		if err != nil {
			return nil, err
		}
		if !reflect.DeepEqual(state, whole) {
			if string(got) != string(want) {
				return nil, fmt.Errorf("the state is another if it begins with a snapshot after event %d:\n%s", n, diff(want, got))
			}
			return nil, fmt.Errorf("the state after event %d holds something that its JSON does not: got %+v from a snapshot, want %+v", n, state, whole)
		}
		fold(before, events[n:])
		if after, err := json.Marshal(before); err != nil || string(after) != string(kept) {
			return nil, fmt.Errorf("after event %d the state that Evolve was given is changed:\n%s", n, diff(kept, after))
		}
	}
	return want, nil
}

// compare holds histories against a file.
func compare(file string, schema int, now []frozenHistory) error {
	text, err := os.ReadFile(file)
	var frozen []frozenHistory
	if err == nil {
		err = json.Unmarshal(text, &frozen)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", file, err)
	}
	states := map[string]json.RawMessage{}
	for _, h := range frozen {
		states[key(h.Events)] = h.State
	}
	more := false
	for i, h := range now {
		was, ok := states[key(h.Events)]
		if !ok {
			frozen, more = append(frozen, h), true
			continue
		}
		if key(was) != key(h.State) {
			return fmt.Errorf("schema %d: history %d makes another state than when it was frozen, so a kept snapshot would be wrong:\n%s\nRaise Snapshot.Schema",
				schema, i+1, diff(was, h.State))
		}
	}
	if !more {
		return nil
	}
	if os.Getenv("CLEAVE_UPDATE") == "" {
		return fmt.Errorf("schema %d: a history is not frozen yet: run the test once with CLEAVE_UPDATE=1 in the environment and commit %s", schema, file)
	}
	if text, err = json.MarshalIndent(frozen, "", "\t"); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// key is JSON in one form, whatever its white space.
func key(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}

func diff(old, new json.RawMessage) string {
	indent := func(v json.RawMessage) []byte {
		text, err := json.MarshalIndent(v, "", "\t")
		if err != nil {
			return v
		}
		return text
	}
	return eventtest.Diff(indent(old), indent(new))
}
