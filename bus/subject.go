package bus

import (
	"strconv"
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
	lane := twoDigits(r.Stream.Lane())
	if to, ok := strings.CutPrefix(r.Stream.Category, "$cmd."); ok {
		return "cmd." + token(to) + "." + lane + "." + tokens(r.Type)
	}
	if to, ok := strings.CutPrefix(r.Stream.Category, "$rpl."); ok {
		return "rpl." + token(to) + "." + lane + "." + tokens(r.Type)
	}
	return "evt." + token(service) + "." + token(r.Stream.Category) + "." + lane + "." + tokens(r.Type)
}

func twoDigits(n int) string {
	return string([]byte{byte('0' + n/10), byte('0' + n%10)})
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
	if f.Of > 1 && !f.inLane(subject) {
		return false
	}
	for _, p := range f.Subjects {
		if Match(p, subject) {
			return true
		}
	}
	return len(f.Subjects) == 0
}

// laneToken returns which token of a subject that begins with kind is the lane.
func laneToken(kind string) int {
	if kind == "evt" {
		return 3
	}
	return 2
}

func (f Filter) inLane(subject string) bool {
	kind, _, _ := strings.Cut(subject, ".")
	parts := strings.SplitN(subject, ".", laneToken(kind)+2)
	if len(parts) <= laneToken(kind) {
		return false
	}
	lane, err := strconv.Atoi(parts[laneToken(kind)])
	return err == nil && lane%f.Of == f.Lane
}

// Patterns returns subjects, with NATS wildcards, that let the same through as
// the filter: for a broker that does not know lanes. None means all.
func (f Filter) Patterns() []string {
	if f.Of <= 1 {
		return f.Subjects
	}
	of := f.Subjects
	if len(of) == 0 {
		of = []string{">"}
	}
	var all []string
	for _, pattern := range of {
		if pattern == ">" {
			pattern = "*.>"
		}
		if rest, any := strings.CutPrefix(pattern, "*."); any {
			for _, kind := range []string{"evt.", "cmd.", "rpl."} {
				all = append(all, f.lanesOf(kind+rest)...)
			}
			continue
		}
		all = append(all, f.lanesOf(pattern)...)
	}
	if len(all) == 0 {
		return []string{"none"} // no message has this subject
	}
	return all
}

// lanesOf returns a pattern once for each of the filter's lanes.
func (f Filter) lanesOf(pattern string) []string {
	parts := strings.Split(pattern, ".")
	at := laneToken(parts[0])
	if open := len(parts) - 1; parts[open] == ">" && open <= at {
		for parts = parts[:open]; len(parts) <= at; {
			parts = append(parts, "*")
		}
		parts = append(parts, ">")
	}
	if len(parts) <= at {
		return nil // no message has so short a subject
	}
	if parts[at] != "*" {
		if f.inLane(pattern) {
			return []string{pattern}
		}
		return nil
	}
	var all []string
	for lane := f.Lane; lane < event.Lanes; lane += f.Of {
		parts[at] = twoDigits(lane)
		all = append(all, strings.Join(parts, "."))
	}
	return all
}

func token(s string) string {
	if s == "" {
		return "_"
	}
	if !strings.Contains(s, ".") && event.CheckType(s) == nil {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r == '.' {
			return '_'
		}
		return plain(r)
	}, s)
}

func tokens(s string) string {
	if event.CheckType(s) == nil {
		return s // nothing in it has to be replaced
	}
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
