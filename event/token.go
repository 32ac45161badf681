package event

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Bounds of a Token.
const (
	maxTokenSources = 16
	maxTokenText    = 1024
	maxTokenName    = 64 // bytes of a source or an epoch
	tokenVersion    = 1
)

// Token says what a caller has caused or seen: for each source, a position in
// an epoch of its table. Given with a later request, the answer includes all
// that. The zero Token asks for nothing. It is a value: its methods return new
// ones. A Token holds at most 16 sources; a seventeenth takes the place of the
// one that was touched longest ago.
type Token struct {
	marks []sourceMark // the last touched is the last
}

// Mark is a place in a source's table.
type Mark struct {
	Epoch    string
	Position Position
}

type sourceMark struct {
	source string
	Mark
}

// With returns t with source at p. Within an epoch the higher position stays; a
// position in another epoch replaces it. A p of 0, and names that are empty or
// longer than 64 bytes, change nothing.
func (t Token) With(source, epoch string, p Position) Token {
	if p == 0 || !tokenName(source) || !tokenName(epoch) {
		return t
	}
	marks := make([]sourceMark, 0, len(t.marks)+1)
	for _, m := range t.marks {
		if m.source != source {
			marks = append(marks, m)
		} else if m.Epoch == epoch {
			p = max(p, m.Position)
		}
	}
	marks = append(marks, sourceMark{source, Mark{epoch, p}})
	for len(marks) > maxTokenSources || base64.RawURLEncoding.EncodedLen(encodedSize(marks)) > maxTokenText {
		marks = marks[1:]
	}
	return Token{marks}
}

// Merge returns t with all that other holds.
func (t Token) Merge(other Token) Token {
	for _, m := range other.marks {
		t = t.With(m.source, m.Epoch, m.Position)
	}
	return t
}

// All yields each source with its mark.
func (t Token) All() iter.Seq2[string, Mark] {
	return func(yield func(string, Mark) bool) {
		for _, m := range t.marks {
			if !yield(m.source, m.Mark) {
				return
			}
		}
	}
}

// Mark returns the mark of source, and whether there is one.
func (t Token) Mark(source string) (Mark, bool) {
	for _, m := range t.marks {
		if m.source == source {
			return m.Mark, true
		}
	}
	return Mark{}, false
}

// IsZero reports whether the Token asks for nothing.
func (t Token) IsZero() bool { return len(t.marks) == 0 }

// String returns the Token as at most 1,024 characters that fit into a header,
// empty for the zero Token. What they mean is nobody else's business.
func (t Token) String() string {
	if t.IsZero() {
		return ""
	}
	b := make([]byte, 0, encodedSize(t.marks))
	b = append(b, tokenVersion)
	for _, m := range t.marks {
		b = append(b, byte(len(m.source)))
		b = append(b, m.source...)
		b = append(b, byte(len(m.Epoch)))
		b = append(b, m.Epoch...)
		b = binary.AppendUvarint(b, uint64(m.Position))
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// MarshalText returns String.
func (t Token) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText is ParseToken.
func (t *Token) UnmarshalText(text []byte) error {
	parsed, err := ParseToken(string(text))
	if err != nil {
		return err
	}
	*t = parsed
	return nil
}

// ErrToken is what errors.Is finds when a text is no Token.
var ErrToken = errors.New("event: not a consistency token")

// ParseToken reads what String wrote. The empty text is the zero Token.
func ParseToken(s string) (Token, error) {
	if s == "" {
		return Token{}, nil
	}
	if len(s) > maxTokenText {
		return Token{}, fmt.Errorf("%w: it has %d characters, at most %d are allowed", ErrToken, len(s), maxTokenText)
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || strings.ContainsAny(s, "\r\n") || len(b) < 2 || b[0] != tokenVersion { // base64 skips line ends
		return Token{}, fmt.Errorf("%w: send back exactly what a response carried", ErrToken)
	}
	marks, ok := parseMarks(b[1:])
	if !ok {
		return Token{}, fmt.Errorf("%w: it is damaged", ErrToken)
	}
	return Token{marks}, nil
}

func parseMarks(b []byte) (marks []sourceMark, ok bool) {
	for len(b) > 0 {
		var m sourceMark
		if m.source, b, ok = cutName(b); !ok {
			return nil, false
		}
		if m.Epoch, b, ok = cutName(b); !ok {
			return nil, false
		}
		p, n := binary.Uvarint(b)
		if n <= 0 || p == 0 || n != uvarintLen(p) {
			return nil, false
		}
		m.Position, b = Position(p), b[n:]
		if len(marks) == maxTokenSources || slices.ContainsFunc(marks, func(o sourceMark) bool { return o.source == m.source }) {
			return nil, false
		}
		marks = append(marks, m)
	}
	return marks, true
}

func cutName(b []byte) (name string, rest []byte, ok bool) {
	if len(b) == 0 || len(b) <= int(b[0]) {
		return "", nil, false
	}
	name, rest = string(b[1:1+int(b[0])]), b[1+int(b[0]):]
	return name, rest, tokenName(name)
}

func tokenName(s string) bool {
	if s == "" || len(s) > maxTokenName {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

func encodedSize(marks []sourceMark) int {
	n := 1
	for _, m := range marks {
		n += 2 + len(m.source) + len(m.Epoch) + uvarintLen(uint64(m.Position))
	}
	return n
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}
