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

// Field leads on to a field.
func (p Path) Field(name string) Path {
	return append(p[:len(p):len(p)], token{name: name, kind: field})
}

// At leads on to a list's element.
func (p Path) At(i int) Path { return append(p[:len(p):len(p)], token{index: i, kind: index}) }

// All leads on to every element of a list.
func (p Path) All() Path { return append(p[:len(p):len(p)], token{kind: anyIndex}) }

// In reports whether a document has something at p.
func (p Path) In(doc any) bool {
	if len(p) == 0 {
		return true
	}
	t, rest := p[0], p[1:]
	switch d := doc.(type) {
	case map[string]any:
		if v, ok := d[t.name]; ok && t.kind == field {
			return rest.In(v)
		}
		for _, v := range d {
			if t.kind == anyField && rest.In(v) {
				return true
			}
		}
	case []any:
		for i, v := range d {
			if t.weight(token{index: i, kind: index}) > 0 && rest.In(v) {
				return true
			}
		}
	}
	return false
}

// Lists returns the paths of the lists in a document that have elements. Below a
// list with one element, paths lead through every element.
func Lists(doc any) []Path {
	var found []Path
	var walk func(p Path, v any)
	walk = func(p Path, v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, k := range sorted(v) {
				walk(p.Field(k), v[k])
			}
		case []any:
			if len(v) > 0 {
				found = append(found, p)
			}
			for i, x := range v {
				if len(v) == 1 {
					walk(p.All(), x)
				} else {
					walk(p.At(i), x)
				}
			}
		}
	}
	walk(nil, doc)
	return found
}

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
