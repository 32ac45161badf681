package match

import (
	"fmt"
	"strconv"
	"strings"
)

// token is one step of a path below the root.
type token struct {
	name  string // of a field; "*" with any: every field
	index int    // when isIndex; -1: every index
	kind  tokenKind
}

type tokenKind uint8

const (
	field tokenKind = iota
	anyField
	index
	anyIndex
)

// Path leads to a value in a document.
type Path []token

func (p Path) field(name string) Path {
	return append(p[:len(p):len(p)], token{name: name, kind: field})
}
func (p Path) at(i int) Path { return append(p[:len(p):len(p)], token{index: i, kind: index}) }

// String writes the path so that ParsePath reads it back.
func (p Path) String() string {
	var b strings.Builder
	b.WriteByte('$')
	for _, t := range p {
		switch {
		case t.kind == index:
			fmt.Fprintf(&b, "[%d]", t.index)
		case t.kind == anyIndex:
			b.WriteString("[*]")
		case t.kind == anyField:
			b.WriteString(".*")
		case plainName(t.name):
			b.WriteString("." + t.name)
		default:
			b.WriteString("['" + t.name + "']")
		}
	}
	return b.String()
}

func plainName(s string) bool {
	for i, r := range s {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r != '-' && (r < '0' || r > '9')) {
			return false
		}
	}
	return s != ""
}

// ParsePath reads a path: "$", then ".name", ".*", "['name']", "[3]" or "[*]"
// any number of times.
func ParsePath(s string) (Path, error) {
	rest, ok := strings.CutPrefix(s, "$")
	if !ok {
		return nil, fmt.Errorf("path %q: want it to begin with $", s)
	}
	var p Path
	for rest != "" {
		var t token
		var err error
		if t, rest, err = nextToken(rest); err != nil {
			return nil, fmt.Errorf("path %q: %w", s, err)
		}
		p = append(p, t)
	}
	return p, nil
}

func nextToken(s string) (token, string, error) {
	switch {
	case s[0] == '.':
		end := strings.IndexAny(s[1:], ".[")
		name, rest := s[1:], ""
		if end >= 0 {
			name, rest = s[1:1+end], s[1+end:]
		}
		switch name {
		case "":
			return token{}, "", fmt.Errorf("a name is missing at %q", s)
		case "*":
			return token{kind: anyField}, rest, nil
		}
		return token{name: name, kind: field}, rest, nil
	case strings.HasPrefix(s, "['") || strings.HasPrefix(s, `["`):
		name, rest, ok := strings.Cut(s[2:], s[1:2]+"]")
		if !ok {
			return token{}, "", fmt.Errorf("the quote at %q is not closed", s)
		}
		return token{name: name, kind: field}, rest, nil
	case s[0] == '[':
		inside, rest, ok := strings.Cut(s[1:], "]")
		if ok && inside == "*" {
			return token{kind: anyIndex}, rest, nil
		}
		if n, err := strconv.Atoi(inside); ok && err == nil && n >= 0 {
			return token{index: n, kind: index}, rest, nil
		}
	}
	return token{}, "", fmt.Errorf("want .name, [0], [*] or ['name'] at %q", s)
}

// weight says how well a rule's path fits a place: 0 not at all, else the more
// the more exactly and the deeper. A rule fits what lies below its path too.
func (p Path) weight(place Path) int {
	if len(p) > len(place) {
		return 0
	}
	w := 2
	for i, t := range p {
		w *= t.weight(place[i])
	}
	return w * (len(p) + 1)
}

func (t token) weight(at token) int {
	switch {
	case t.kind == anyField, t.kind == anyIndex && at.kind == index:
		return 1
	case t.kind == index && at.kind == index && t.index == at.index:
		return 2
	case t.kind == field && at.kind == field && t.name == at.name:
		return 2
	case t.kind == field && at.kind == index && t.name == strconv.Itoa(at.index):
		return 2
	}
	return 0
}
