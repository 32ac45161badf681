package event_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/event"
)

func marks(t event.Token) map[string]event.Mark { return maps.Collect(t.All()) }

func TestATokenKeepsTheHigherPositionOfEachSource(t *testing.T) {
	var none event.Token
	token := none.With("order", "e1", 5).With("kitchen", "e2", 9).With("order", "e1", 3)
	want := map[string]event.Mark{"order": {Epoch: "e1", Position: 5}, "kitchen": {Epoch: "e2", Position: 9}}
	if got := marks(token); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if !none.IsZero() || token.IsZero() {
		t.Error("With changed the token it was called on")
	}
	if m, ok := token.Mark("order"); !ok || m.Position != 5 {
		t.Errorf("got %v, %v", m, ok)
	}
	if _, ok := token.Mark("consumer"); ok {
		t.Error("there is a mark of consumer")
	}
}

func TestAnotherEpochReplacesAMark(t *testing.T) {
	token := event.Token{}.With("order", "e1", 500).With("order", "e2", 3)
	if m, _ := token.Mark("order"); m != (event.Mark{Epoch: "e2", Position: 3}) {
		t.Errorf("got %v", m)
	}
}

func TestMergeHasAllOfBoth(t *testing.T) {
	a := event.Token{}.With("order", "e", 5).With("kitchen", "e", 1)
	b := event.Token{}.With("order", "e", 4).With("kitchen", "e", 2).With("consumer", "e", 3)
	want := map[string]event.Mark{"order": {"e", 5}, "kitchen": {"e", 2}, "consumer": {"e", 3}}
	if got := marks(a.Merge(b)); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := marks(b.Merge(a)); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestWithLeavesOutWhatSaysNothing(t *testing.T) {
	token := event.Token{}.With("", "e", 1).With("order", "", 1).With("order", "e", 0).
		With(strings.Repeat("x", 65), "e", 1).With("order", strings.Repeat("x", 65), 1).With("a b", "e", 1).With("é", "e", 1)
	if !token.IsZero() || token.String() != "" {
		t.Errorf("got %v", marks(token))
	}
}

func TestATokenIsBoundedAndForgetsTheLongestUntouched(t *testing.T) {
	var token event.Token
	for n := range 40 {
		token = token.With("first", "epoch", event.Position(n+1))
		token = token.With(fmt.Sprintf("service-%d", n), "0123456789abcdef", 1<<40)
	}
	got := marks(token)
	if len(got) != 16 || got["first"].Position != 40 || got["service-39"].Position == 0 || got["service-24"].Position != 0 {
		t.Errorf("got %d: %v", len(got), got)
	}
	long := strings.Repeat("x", 62)
	for n := range 16 {
		token = token.With(fmt.Sprint(long, n), long, 1<<63)
	}
	text := token.String()
	if len(text) > 1024 {
		t.Errorf("%d characters", len(text))
	}
	if back, err := event.ParseToken(text); err != nil || !maps.Equal(marks(back), marks(token)) {
		t.Errorf("got %v, %v", marks(back), err)
	}
}

func TestParseTokenReadsWhatStringWrote(t *testing.T) {
	token := event.Token{}.With("order", "01234567", 1).With("kitchen", "89abcdef", 1<<64-1)
	back, err := event.ParseToken(token.String())
	if err != nil || !maps.Equal(marks(back), marks(token)) {
		t.Errorf("got %v, %v, want %v", marks(back), err, marks(token))
	}
	if back, err := event.ParseToken(""); err != nil || !back.IsZero() {
		t.Errorf("got %v, %v", marks(back), err)
	}
	data, err := json.Marshal(struct{ T event.Token }{token})
	if err != nil || string(data) != `{"T":"`+token.String()+`"}` {
		t.Errorf("got %s, %v", data, err)
	}
	var in struct{ T event.Token }
	if err := json.Unmarshal(data, &in); err != nil || !maps.Equal(marks(in.T), marks(token)) {
		t.Errorf("got %v, %v", marks(in.T), err)
	}
}

func TestParseTokenRefusesAnythingElse(t *testing.T) {
	encode := func(raw string) string { return base64.RawURLEncoding.EncodeToString([]byte(raw)) }
	good := event.Token{}.With("order", "e", 300).String()
	for name, text := range map[string]string{
		"no base64":              "a b",
		"padding":                base64.URLEncoding.EncodeToString([]byte("\x01\x01a\x01e\x05")) + "=",
		"a line end":             "\n" + good,
		"one byte":               encode("\x01"),
		"another version":        encode("\x02\x01a\x01e\x05"),
		"cut off":                good[:len(good)-2],
		"something behind":       good + "AA",
		"an empty source":        encode("\x01\x00\x01e\x05"),
		"an empty epoch":         encode("\x01\x01a\x00\x05"),
		"position 0":             encode("\x01\x01a\x01e\x00"),
		"a position too long":    encode("\x01\x01a\x01e\x85\x00"),
		"a position too big":     encode("\x01\x01a\x01e\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"),
		"a source twice":         encode("\x01\x01a\x01e\x05\x01a\x01f\x05"),
		"a source not printable": encode("\x01\x01\n\x01e\x05"),
		"too long":               strings.Repeat("A", 1025),
	} {
		if got, err := event.ParseToken(text); !errors.Is(err, event.ErrToken) || !got.IsZero() {
			t.Errorf("%s: got %v, %v", name, marks(got), err)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add("")
	f.Add(event.Token{}.With("order", "e", 300).With("kitchen", "0123456789abcdef", 1).String())
	f.Add("AQFhAWUF")
	f.Fuzz(func(t *testing.T, s string) {
		token, err := event.ParseToken(s)
		if err != nil {
			return
		}
		if got := token.String(); got != s {
			t.Errorf("%q was read as %q", s, got)
		}
		if more := token.With("another", "epoch", 1); len(more.String()) > 1024 {
			t.Errorf("%q grew to %d characters", s, len(more.String()))
		}
	})
}
