package event_test

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-go/cleave/event"
)

func TestNewIDIsAVersion7UUIDOfNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Hour + 123*time.Millisecond)
		text := event.NewID().String()
		if text[14] != '7' || !strings.ContainsRune("89ab", rune(text[19])) {
			t.Errorf("%s is no UUIDv7", text)
		}
	})
	before := time.Now().UnixMilli()
	id := event.NewID()
	var ms int64
	for _, b := range id[:6] {
		ms = ms<<8 | int64(b)
	}
	if after := time.Now().UnixMilli(); ms < before || ms > after+1000 {
		t.Errorf("the ID says %d, it is %d to %d", ms, before, after)
	}
}

func TestNewIDAscendsAndIsUniqueInAProcess(t *testing.T) {
	var mu sync.Mutex
	all := map[event.ID]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			ids := make([]event.ID, 5000)
			for i := range ids {
				ids[i] = event.NewID()
			}
			if !slices.IsSortedFunc(ids, func(a, b event.ID) int { return strings.Compare(a.String(), b.String()) }) {
				t.Error("the IDs do not ascend")
			}
			mu.Lock()
			defer mu.Unlock()
			for _, id := range ids {
				all[id] = true
			}
		})
	}
	wg.Wait()
	if len(all) != 8*5000 {
		t.Errorf("%d different IDs of %d", len(all), 8*5000)
	}
}

func TestDeriveIDGivesTheSameForEver(t *testing.T) {
	// Recorded events have such IDs: a change here would break repeated commands.
	const want = "1c55ccae-5421-876f-b7f8-48b2f32d8946"
	id := event.DeriveID("order/1\x00key", 0)
	if id.String() != want {
		t.Errorf("got %s, want %s", id, want)
	}
	seen := map[event.ID]string{}
	for _, namespace := range []string{"", "a", "b", "order/1"} {
		for n := range 100 {
			id := event.DeriveID(namespace, n)
			if other, ok := seen[id]; ok {
				t.Errorf("%s %d is %s", namespace, n, other)
			}
			seen[id] = namespace
		}
	}
}

func TestParseIDReadsWhatStringWroteAndNothingElse(t *testing.T) {
	id := event.NewID()
	if got, err := event.ParseID(id.String()); err != nil || got != id {
		t.Errorf("got %s, %v, want %s", got, err, id)
	}
	if got, err := event.ParseID(strings.ToUpper(id.String())); err != nil || got != id {
		t.Errorf("upper case: got %s, %v, want %s", got, err, id)
	}
	good := id.String()
	for _, bad := range []string{"", "x", good[1:], good + "0", strings.ReplaceAll(good, "-", ""), "{" + good + "}",
		"g" + good[1:], good[:8] + "0" + good[9:], strings.Repeat("0", 1000)} {
		if got, err := event.ParseID(bad); err == nil || !got.IsZero() {
			t.Errorf("%q: got %s, %v", bad, got, err)
		}
	}
}

func TestAnIDIsTextInJSON(t *testing.T) {
	id := event.NewID()
	data, err := json.Marshal(map[event.ID]event.ID{id: id})
	if err != nil || string(data) != `{"`+id.String()+`":"`+id.String()+`"}` {
		t.Errorf("got %s, %v", data, err)
	}
	var back map[event.ID]event.ID
	if err := json.Unmarshal(data, &back); err != nil || back[id] != id {
		t.Errorf("got %v, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`"x"`), &id); err == nil {
		t.Error("x is no ID")
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("01890a5d-ac96-774b-bcce-b302099a8057")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := event.ParseID(s)
		if err == nil && id.String() != strings.ToLower(s) {
			t.Errorf("%q was read as %s", s, id)
		}
	})
}
