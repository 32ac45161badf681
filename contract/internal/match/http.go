package match

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Method compares methods; their case does not matter.
func Method(expected, actual string) []Mismatch {
	if strings.EqualFold(expected, actual) {
		return nil
	}
	return []Mismatch{{Part: "method", Expected: expected, Actual: actual, Rule: "equality",
		Message: fmt.Sprintf("Expected a method of %s but received %s", expected, actual)}}
}

// URLPath compares paths.
func URLPath(expected, actual string, rules Category) []Mismatch {
	list := List{}
	if len(rules) > 0 {
		list = rules[0].List
	}
	return In("path", textual("", expected, actual, list))
}

// Headers compares headers: names in any case, space around commas as one
// likes, further headers allowed. Keys of the rules are names.
func Headers(expected, actual map[string][]string, rules Category) []Mismatch {
	var found []Mismatch
	for _, name := range slices.Sorted(maps.Keys(expected)) {
		got, ok := folded(actual, name)
		want := expected[name]
		list, ruled := rules.named(name, true)
		switch {
		case !ok:
			found = append(found, Mismatch{Path: name, Expected: show(strings.Join(want, ", ")), Actual: "missing", Rule: "equality",
				Message: fmt.Sprintf("Expected a header '%s' but was missing", name)})
		case ruled:
			found = append(found, each(name, want, got, list)...)
		case parameterised(name) && len(want) == 1 && len(got) == 1:
			if !sameMedia(want[0], got[0]) {
				found = append(found, headerMismatch(name, want, got))
			}
		case !slices.Equal(commas(want), commas(got)):
			found = append(found, headerMismatch(name, want, got))
		}
	}
	return In("header", found)
}

func headerMismatch(name string, want, got []string) Mismatch {
	w, g := strings.Join(want, ", "), strings.Join(got, ", ")
	return Mismatch{Path: name, Expected: show(w), Actual: show(g), Rule: "equality",
		Message: fmt.Sprintf("Expected header '%s' to have value '%s' but was '%s'", name, w, g)}
}

func folded(m map[string][]string, name string) ([]string, bool) {
	for k, v := range m {
		if strings.EqualFold(k, name) {
			return v, true
		}
	}
	return nil, false
}

func commas(values []string) []string {
	var list []string
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			list = append(list, strings.TrimSpace(part))
		}
	}
	return list
}

func parameterised(name string) bool {
	return strings.EqualFold(name, "Content-Type") || strings.EqualFold(name, "Accept")
}

// sameMedia compares media types: the parameters of the first must be among
// those of the second.
func sameMedia(want, got string) bool {
	w, wp := media(want)
	g, gp := media(got)
	if !slices.Equal(commas([]string{w}), commas([]string{g})) {
		return false
	}
	for k, v := range wp {
		if gp[k] != v && (k != "charset" || !strings.EqualFold(gp[k], v)) {
			return false
		}
	}
	return true
}

func media(s string) (string, map[string]string) {
	first, rest, _ := strings.Cut(s, ";")
	params := map[string]string{}
	for part := range strings.SplitSeq(rest, ";") {
		k, v, _ := strings.Cut(part, "=")
		if k = strings.ToLower(strings.TrimSpace(k)); k != "" {
			params[k] = strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	return strings.TrimSpace(first), params
}

func base(contentType string) string {
	m, _ := media(contentType)
	return strings.ToLower(m)
}

func isJSON(contentType string) bool {
	b := base(contentType)
	return b == "application/json" || b == "text/json" || strings.HasSuffix(b, "+json")
}

// IsJSON reports whether a content type is JSON.
func IsJSON(contentType string) bool { return isJSON(contentType) }

// SameType reports whether two content types are the same but for parameters.
func SameType(a, b string) bool { return base(a) == base(b) }

// Query compares parameters: in any order, but the values of each in theirs;
// nothing may be missing or added.
func Query(expected, actual map[string][]string, rules Category) []Mismatch {
	var found []Mismatch
	for _, name := range slices.Sorted(maps.Keys(expected)) {
		got, ok := actual[name]
		list, ruled := rules.named(name, false)
		switch {
		case !ok:
			found = append(found, Mismatch{Path: name, Expected: showList(expected[name]), Actual: "missing", Rule: "equality",
				Message: fmt.Sprintf("Expected query parameter '%s' but was missing", name)})
		case ruled:
			found = append(found, each(name, expected[name], got, list)...)
		case !slices.Equal(expected[name], got):
			found = append(found, Mismatch{Path: name, Expected: showList(expected[name]), Actual: showList(got), Rule: "equality",
				Message: fmt.Sprintf("Expected query parameter '%s' with value %s but was %s", name, showList(expected[name]), showList(got))})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(actual)) {
		if _, ok := expected[name]; !ok {
			found = append(found, Mismatch{Path: name, Expected: "nothing", Actual: showList(actual[name]), Rule: "no other parameters",
				Message: fmt.Sprintf("Unexpected query parameter '%s' received", name)})
		}
	}
	return In("query", found)
}

func showList(values []string) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = show(v)
	}
	return strings.Join(parts, ", ")
}

// each applies rules to every value; the example's last value stands for what
// is behind it.
func each(name string, want, got []string, list List) []Mismatch {
	var found []Mismatch
	for i, g := range got {
		w := ""
		if len(want) > 0 {
			w = want[min(i, len(want)-1)]
		}
		found = append(found, textual(name, w, g, list)...)
	}
	if len(got) == 0 && len(want) > 0 {
		found = append(found, Mismatch{Path: name, Expected: showList(want), Actual: "nothing", Rule: list.String(), Message: "Expected a value"})
	}
	return found
}

// textual compares texts; rules on numbers read their text.
func textual(name, expected, actual string, list List) []Mismatch {
	if len(list.Rules) == 0 {
		if expected == actual {
			return nil
		}
		return []Mismatch{{Path: name, Expected: show(expected), Actual: show(actual), Rule: "equality",
			Message: fmt.Sprintf("Expected %s but received %s", show(expected), show(actual))}}
	}
	var failed []string
	for _, r := range list.Rules {
		var value any = actual
		switch r.Name {
		case "integer", "decimal", "number":
			if integerText.MatchString(actual) || decimalText.MatchString(actual) {
				value = json.Number(actual)
			}
		}
		if message := r.check(expected, value); message != "" {
			failed = append(failed, message)
		} else if list.Or {
			return nil
		}
	}
	var found []Mismatch
	for _, message := range failed {
		found = append(found, Mismatch{Path: name, Expected: show(expected), Actual: show(actual), Rule: list.String(), Message: message})
	}
	return found
}

// Text compares bodies that are not JSON.
func Text(expected, actual string, rules Category) []Mismatch {
	list, _ := rules.best(nil)
	return In("body", textual("$", expected, actual, list))
}

// Metadata compares what travels beside a message.
func Metadata(expected, actual map[string]any, rules Category) []Mismatch {
	var found []Mismatch
	for _, name := range sorted(expected) {
		list, ruled := rules.named(name, false)
		got, ok := actual[name]
		c := comparison{open: true}
		switch {
		case !ok:
			found = append(found, Mismatch{Path: name, Expected: show(expected[name]), Actual: "missing", Rule: "equality",
				Message: fmt.Sprintf("Expected message metadata '%s' but was missing", name)})
		case ruled:
			c.apply(nil, list, expected[name], got)
		case strings.EqualFold(name, "contentType") && kindOf(got) == "String" && kindOf(expected[name]) == "String":
			if !sameMedia(expected[name].(string), got.(string)) {
				c.add(nil, expected[name], got, "equality", fmt.Sprintf("Expected %s but received %s", show(expected[name]), show(got)))
			}
		default:
			c.value(nil, expected[name], got)
		}
		for _, m := range c.found {
			m.Path = name + strings.TrimPrefix(m.Path, "$")
			found = append(found, m)
		}
	}
	return In("metadata", found)
}

// ParseQuery reads a raw query. What cannot be unescaped stays as it is.
func ParseQuery(raw string) map[string][]string {
	q := map[string][]string{}
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		k, v, _ := strings.Cut(part, "=")
		k, v = unescape(k), unescape(v)
		q[k] = append(q[k], v)
	}
	return q
}

func unescape(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}
