package event

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of what can be recorded, chosen so that a record fits into a message
// of a broker with its defaults.
const (
	MaxName = 128       // bytes of a category or a type
	MaxID   = 256       // bytes of a stream's ID
	MaxData = 512 << 10 // bytes of Data
	MaxMeta = 16 << 10  // bytes of Meta as JSON
)

// CheckType reports why name cannot be an event type: it is words of letters,
// digits, "-" and "_" with single dots between them.
func CheckType(name string) error { return checkName("type", name) }

func checkName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("event: a %s must not be empty", what)
	case len(name) > MaxName:
		return fmt.Errorf("event: a %s has at most %d bytes, this has %d", what, MaxName, len(name))
	}
	for word := range strings.SplitSeq(name, ".") {
		if word == "" || strings.IndexFunc(word, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_')
		}) >= 0 {
			return fmt.Errorf("event: %s %q: want letters, digits, - and _, with single dots between", what, name)
		}
	}
	return nil
}

// Check reports why s cannot be a stream. Categories are formed as types are,
// and may begin with "$" if they belong to the toolkit. IDs are any text without
// control characters.
func (s Stream) Check() error {
	if err := checkName("category", strings.TrimPrefix(s.Category, "$")); err != nil {
		return err
	}
	switch {
	case s.ID == "":
		return fmt.Errorf("event: the ID of a stream of %q must not be empty", s.Category)
	case len(s.ID) > MaxID:
		return fmt.Errorf("event: the ID of a stream has at most %d bytes, this has %d", MaxID, len(s.ID))
	case !utf8.ValidString(s.ID) || strings.ContainsFunc(s.ID, unicode.IsControl):
		return fmt.Errorf("event: the ID of a stream is valid UTF-8 without control characters, not %q", s.ID)
	}
	return nil
}

// Check reports what of m is no valid UTF-8 or too big. Data has no such rule:
// it is kept byte by byte.
func (m Meta) Check() error {
	fields := map[string]string{"Correlation": m.Correlation, "Causation": m.Causation, "Tenant": m.Tenant,
		"Actor": m.Actor, "TraceParent": m.TraceParent}
	for name, value := range fields {
		if !utf8.ValidString(value) {
			return fmt.Errorf("event: Meta.%s %q is not valid UTF-8", name, value)
		}
	}
	for _, tag := range m.Tags {
		if !utf8.ValidString(tag) {
			return fmt.Errorf("event: the tag %q in Meta is not valid UTF-8", tag)
		}
	}
	for k, v := range m.Ext {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("event: Meta.Ext %q: %q is not valid UTF-8", k, v)
		}
	}
	if text, err := json.Marshal(m); err != nil || len(text) > MaxMeta {
		return fmt.Errorf("event: Meta has at most %d bytes as JSON, this has %d", MaxMeta, len(text))
	}
	return nil
}
