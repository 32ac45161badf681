package match

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Rule is one matching rule.
type Rule struct {
	Name     string // "type", "regex" …
	Regex    string
	Format   string // of a date, a time or both, as a Java pattern
	Value    any    // of include and contentType
	Min, Max *int
	Status   any // of statusCode: a class's name or a list of codes
	Rules    []Rule
	Variants []Variant

	re  *regexp.Regexp
	err error // why the rule cannot be used
}

// Variant is what arrayContains looks for: the example's element at Index.
type Variant struct {
	Index int
	Rules Category
}

// String names the rule and what it is about, for the last column of a table.
func (r Rule) String() string {
	switch {
	case r.Regex != "":
		return r.Name + " " + r.Regex
	case r.Format != "":
		return r.Name + " " + r.Format
	case r.Value != nil:
		return fmt.Sprintf("%s %v", r.Name, r.Value)
	case r.Status != nil:
		return fmt.Sprintf("%s %v", r.Name, r.Status)
	}
	name := r.Name
	if r.Min != nil {
		name += fmt.Sprintf(" min %d", *r.Min)
	}
	if r.Max != nil {
		name += fmt.Sprintf(" max %d", *r.Max)
	}
	return name
}

// NewRegex returns a rule that the whole value's text must match.
func NewRegex(re string) Rule {
	r := Rule{Name: "regex", Regex: re}
	r.re, r.err = regexp.Compile(`\A(?:` + re + `)\z`)
	return r
}

// Err says why the rule cannot be used; nil: it can.
func (r Rule) Err() error { return r.err }

// List is what holds at one path.
type List struct {
	Rules []Rule
	Or    bool // one is enough
}

func (l List) String() string {
	names := make([]string, len(l.Rules))
	for i, r := range l.Rules {
		names[i] = r.String()
	}
	if l.Or {
		return strings.Join(names, " or ")
	}
	return strings.Join(names, ", ")
}

// Category is the rules of one part. The path of a header, a query parameter or
// metadata is its name; path and status have the path "".
type Category []Entry

// Entry is the rules at one path.
type Entry struct {
	Path string
	List List
	path Path
}

// NewEntry returns an entry for a path in a body.
func NewEntry(path Path, rules List) Entry {
	return Entry{Path: path.String(), List: rules, path: path}
}

// best returns the rules for a place: those whose path fits it most exactly. It
// may be a parent's path.
func (c Category) best(place Path) (list List, ok bool) {
	weight, inherited := 0, false
	for _, e := range c {
		if w := e.path.weight(place); w > weight {
			weight, list, inherited = w, e.List, len(e.path) < len(place)
		}
	}
	if inherited {
		list.Rules = slices.DeleteFunc(slices.Clone(list.Rules), func(r Rule) bool { return !r.descends() })
		for i := range list.Rules { // a size is of the list itself
			list.Rules[i].Min, list.Rules[i].Max = nil, nil
		}
	}
	return list, len(list.Rules) > 0
}

// descends reports whether a rule holds below its path too.
func (r Rule) descends() bool {
	switch r.Name {
	case "values", "eachKey", "eachValue", "arrayContains", "contentType", "notEmpty", "null":
		return false
	}
	return true
}

// openKeys reports whether a rule for every field of place exists.
func (c Category) openKeys(place Path) bool {
	for _, e := range c {
		if n := len(e.path); n == len(place)+1 && e.path[n-1].kind == anyField && e.path[:n-1].weight(place) > 0 {
			return true
		}
	}
	return false
}

// named returns the rules of a header, a query parameter or metadata.
func (c Category) named(name string, fold bool) (List, bool) {
	for _, e := range c {
		if e.Path == name || fold && strings.EqualFold(e.Path, name) {
			return e.List, true
		}
	}
	return List{}, false
}

// Rules is all rules of a request, a response or a message, by part: body,
// header, query, path, status, metadata.
type Rules map[string]Category

// JSON writes the rules as version 4 files hold them.
func (r Rules) JSON() map[string]any {
	out := map[string]any{}
	for part, c := range r {
		switch {
		case len(c) == 0:
		case part == "path" || part == "status":
			out[part] = c[0].List.json()
		default:
			out[part] = c.json()
		}
	}
	return out
}

func (c Category) json() map[string]any {
	m := map[string]any{}
	for _, e := range c {
		m[e.Path] = e.List.json()
	}
	return m
}

func (l List) json() map[string]any {
	combine := "AND"
	if l.Or {
		combine = "OR"
	}
	return map[string]any{"combine": combine, "matchers": rulesJSON(l.Rules)}
}

func rulesJSON(rules []Rule) []any {
	list := []any{}
	for _, r := range rules {
		list = append(list, r.json())
	}
	return list
}

func (r Rule) json() map[string]any {
	m := map[string]any{"match": r.Name}
	if r.Regex != "" {
		m["regex"] = r.Regex
	}
	if r.Format != "" {
		m["format"] = r.Format
	}
	if r.Value != nil {
		m["value"] = r.Value
	}
	if r.Min != nil {
		m["min"] = *r.Min
	}
	if r.Max != nil {
		m["max"] = *r.Max
	}
	if r.Status != nil {
		m["status"] = r.Status
	}
	if r.Rules != nil {
		m["rules"] = rulesJSON(r.Rules)
	}
	if r.Variants != nil {
		list := []any{}
		for _, v := range r.Variants {
			list = append(list, map[string]any{"index": v.Index, "rules": v.Rules.json()})
		}
		m["variants"] = list
	}
	return m
}

func intOf(v any) *int {
	n, ok := v.(json.Number)
	if !ok {
		return nil
	}
	i, err := n.Int64()
	if err != nil {
		return nil
	}
	k := int(i)
	return &k
}
