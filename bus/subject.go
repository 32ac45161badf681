package bus

import (
	"fmt"
	"strings"

	"github.com/cleave-go/cleave/event"
)

// Subject returns the subject under which a service's record travels:
//
//	evt.<service>.<category>.<lane>.<type>   an event
//	cmd.<target>.<lane>.<type>               a record of category "$cmd.<target>"
//	rpl.<caller>.<lane>.<type>               a record of category "$rpl.<caller>"
//
// The lane has two digits. The dots of the type stay, so patterns for types end
// in ">". What a subject cannot hold (spaces, wildcards, a dot in any other
// part) becomes "_".
func Subject(service string, r event.Record) string {
	lane := r.Stream.Lane()
	if to, ok := strings.CutPrefix(r.Stream.Category, "$cmd."); ok {
		return fmt.Sprintf("cmd.%s.%02d.%s", token(to), lane, tokens(r.Type))
	}
	if to, ok := strings.CutPrefix(r.Stream.Category, "$rpl."); ok {
		return fmt.Sprintf("rpl.%s.%02d.%s", token(to), lane, tokens(r.Type))
	}
	return fmt.Sprintf("evt.%s.%s.%02d.%s", token(service), token(r.Stream.Category), lane, tokens(r.Type))
}

// Match reports whether a subject matches a pattern, in which a token "*"
// stands for one token and a last token ">" for one or more.
func Match(pattern, subject string) bool {
	for {
		p, morePattern, inPattern := strings.Cut(pattern, ".")
		if p == ">" && !inPattern {
			return subject != ""
		}
		s, moreSubject, inSubject := strings.Cut(subject, ".")
		if s == "" || p != s && p != "*" {
			return false
		}
		if !inPattern || !inSubject {
			return inPattern == inSubject
		}
		pattern, subject = morePattern, moreSubject
	}
}

// Match reports whether the filter wants a message with this subject.
func (f Filter) Match(subject string) bool {
	for _, p := range f.Subjects {
		if Match(p, subject) {
			return true
		}
	}
	return len(f.Subjects) == 0
}

func token(s string) string {
	if s == "" {
		return "_"
	}
	return strings.Map(func(r rune) rune {
		if r == '.' {
			return '_'
		}
		return plain(r)
	}, s)
}

func tokens(s string) string {
	parts := strings.Split(s, ".")
	for i, p := range parts {
		parts[i] = token(p)
	}
	return strings.Join(parts, ".")
}

func plain(r rune) rune {
	if r <= ' ' || r == '*' || r == '>' || r == 0x7f || r == '\uFFFD' {
		return '_'
	}
	return r
}
