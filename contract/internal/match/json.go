package match

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxDepth bounds how deep documents are compared.
const maxDepth = 1000

// JSON compares a document with its example. Keys that the example does not
// have are allowed when open is set, as in responses and messages.
func JSON(expected, actual any, rules Category, open bool) []Mismatch {
	c := comparison{rules: rules, open: open}
	c.value(nil, expected, actual)
	slices.SortStableFunc(c.found, func(a, b Mismatch) int { return cmp.Compare(a.Path, b.Path) })
	return In("body", c.found)
}

type comparison struct {
	rules Category
	open  bool
	found []Mismatch
}

func (c *comparison) add(p Path, expected, actual any, rule, message string) {
	c.found = append(c.found, Mismatch{Path: p.String(), Expected: show(expected), Actual: show(actual), Rule: rule, Message: message})
}

func (c *comparison) value(p Path, expected, actual any) {
	if len(p) > maxDepth {
		c.add(p, expected, actual, "depth", fmt.Sprintf("is more than %d levels deep", maxDepth))
		return
	}
	list, ruled := c.rules.best(p)
	if ruled {
		if !c.apply(p, list, expected, actual) {
			return
		}
	} else if !sameKind(expected, actual) {
		c.add(p, expected, actual, "equality", "Expected "+showKind(actual)+" to be equal to "+showKind(expected))
		return
	}
	switch e := expected.(type) {
	case map[string]any:
		if a, ok := actual.(map[string]any); ok {
			c.object(p, list, e, a)
		}
	case []any:
		if a, ok := actual.([]any); ok {
			c.array(p, list, ruled, e, a)
		}
	default:
		if !ruled && !equal(expected, actual) {
			c.add(p, expected, actual, "equality", "Expected "+showKind(actual)+" to be equal to "+showKind(expected))
		}
	}
}

// apply checks the rules at p itself and reports whether to look below.
func (c *comparison) apply(p Path, list List, expected, actual any) bool {
	var failed []string
	for _, r := range list.Rules {
		if message := r.check(expected, actual); message != "" {
			failed = append(failed, message)
		} else if list.Or {
			return true
		}
	}
	switch {
	case len(failed) == 0:
		return true
	case list.Or:
		failed = []string{strings.Join(failed, ", and ")}
	}
	for _, message := range failed {
		c.add(p, expected, actual, list.String(), message)
	}
	// Where the shape is right, what is wrong below is worth telling too.
	return !list.Or
}

func (l List) find(name string) (Rule, bool) {
	i := slices.IndexFunc(l.Rules, func(r Rule) bool { return r.Name == name })
	if i < 0 {
		return Rule{}, false
	}
	return l.Rules[i], true
}

func (c *comparison) object(p Path, list List, expected, actual map[string]any) {
	eachKey, keys := list.find("eachKey")
	eachValue, values := list.find("eachValue")
	_, anyValue := list.find("values")
	if keys {
		c.keys(p, eachKey, actual)
	}
	for _, k := range sorted(actual) {
		e, known := expected[k]
		switch {
		case values:
			c.each(p.Field(k), eachValue, e, actual[k])
		case !known && anyValue && len(expected) > 0:
			e, known = expected[sorted(expected)[0]], true
		case !known && !c.open && !keys && !anyValue && !c.rules.openKeys(p):
			c.found = append(c.found, Mismatch{Path: p.Field(k).String(), Expected: "nothing", Actual: show(actual[k]), Rule: "no other keys",
				Message: fmt.Sprintf("Unexpected key %s", k)})
		}
		if known {
			c.value(p.Field(k), e, actual[k])
		}
	}
	if keys || values || anyValue {
		return
	}
	for _, k := range sorted(expected) {
		if _, ok := actual[k]; !ok {
			c.found = append(c.found, Mismatch{Path: p.Field(k).String(), Expected: show(expected[k]), Actual: "missing", Rule: c.ruleAt(p.Field(k)),
				Message: fmt.Sprintf("Actual map is missing the following keys: %s", k)})
		}
	}
}

// ruleAt names the rules for a place, as a table shows them.
func (c *comparison) ruleAt(p Path) string {
	if list, ok := c.rules.best(p); ok {
		return list.String()
	}
	return "equality"
}

func (c *comparison) keys(p Path, rule Rule, actual map[string]any) {
	for _, k := range sorted(actual) {
		for _, r := range rule.Rules {
			if message := r.check(rule.Value, k); message != "" {
				c.add(p.Field(k), rule.Value, k, "eachKey "+r.String(), message)
			}
		}
	}
}

func (c *comparison) each(p Path, rule Rule, expected, actual any) {
	if expected == nil {
		expected = rule.Value
	}
	for _, r := range rule.Rules {
		if message := r.check(expected, actual); message != "" {
			c.add(p, expected, actual, "eachValue "+r.String(), message)
		}
	}
}

func (c *comparison) array(p Path, list List, ruled bool, expected, actual []any) {
	if r, ok := list.find("arrayContains"); ok {
		c.contains(p, r, expected, actual)
		return
	}
	eachValue, values := list.find("eachValue")
	_, exact := list.find("equality")
	if (!ruled || exact) && len(expected) != len(actual) {
		c.add(p, expected, actual, c.ruleAt(p), fmt.Sprintf("Expected a List with %d elements but received %d elements", len(expected), len(actual)))
	}
	for i, a := range actual {
		var e any
		switch {
		case i < len(expected):
			e = expected[i]
		case len(expected) == 0 || !ruled || exact:
			continue
		default:
			e = expected[0]
		}
		if values {
			c.each(p.At(i), eachValue, e, a)
			if !sameKind(e, a) {
				continue
			}
			if _, ok := c.rules.best(p.At(i)); !ok && kindOf(e) != "Object" && kindOf(e) != "Array" {
				continue
			}
		}
		c.value(p.At(i), e, a)
	}
}

// contains looks for every variant in the actual list, in any order.
func (c *comparison) contains(p Path, rule Rule, expected, actual []any) {
	for _, v := range rule.Variants {
		if v.Index >= len(expected) {
			c.add(p, expected, actual, rule.Name, fmt.Sprintf("The example has no element %d, which arrayContains looks for", v.Index))
			continue
		}
		want := expected[v.Index]
		found := slices.ContainsFunc(actual, func(a any) bool { return len(JSON(want, a, v.Rules, c.open)) == 0 })
		if !found {
			text, _ := Encode(want, "")
			c.add(p, want, actual, rule.Name, fmt.Sprintf("Variant at index %d (%s) was not found in the actual list", v.Index, text))
		}
	}
}

func sorted(m map[string]any) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
