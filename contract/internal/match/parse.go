package match

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// ParseRules reads matchingRules: by part as since version 3, or flat
// ("$.body.a": {…}) as in version 2. nil is no rules.
func ParseRules(v any) (Rules, error) {
	if v == nil {
		return nil, nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("matchingRules is %s, want an object", kindOf(v))
	}
	rules := Rules{}
	for part, x := range m {
		var err error
		switch {
		case strings.HasPrefix(part, "$"):
			err = rules.addFlat(part, x)
		case part == "path", part == "status":
			rules[part], err = parseSingle(x)
		default:
			rules[partName(part)], err = parseCategory(x, bodyPart(part))
		}
		if err != nil {
			return nil, fmt.Errorf("matchingRules: %s: %w", part, err)
		}
	}
	for _, c := range rules {
		slices.SortFunc(c, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	}
	return rules, nil
}

func bodyPart(part string) bool { return part == "body" || part == "content" || part == "contents" }

func partName(part string) string {
	switch part {
	case "content", "contents":
		return "body"
	case "headers":
		return "header"
	case "metaData":
		return "metadata"
	}
	return part
}

func (r Rules) addFlat(path string, x any) error {
	p, err := ParsePath(path)
	if err != nil {
		return err
	}
	rule, err := parseRule(x)
	if err != nil {
		return err
	}
	if len(p) == 0 {
		return fmt.Errorf("names no part")
	}
	part, entry := partName(p[0].name), Entry{List: List{Rules: []Rule{rule}}}
	switch {
	case bodyPart(part):
		entry.path = p[1:]
		entry.Path = entry.path.String()
	case len(p) > 1:
		entry.Path = p[1].name
	}
	r[part] = append(r[part], entry)
	return nil
}

func parseSingle(x any) (Category, error) {
	list, err := parseList(x)
	if err != nil {
		return nil, err
	}
	return Category{{List: list}}, nil
}

func parseCategory(x any, body bool) (Category, error) {
	m, ok := x.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("is %s, want an object", kindOf(x))
	}
	var c Category
	for path, y := range m {
		e := Entry{Path: path}
		var err error
		if e.List, err = parseList(y); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if body {
			if e.path, err = ParsePath(path); err != nil {
				return nil, err
			}
		} else if p, err := ParsePath(path); err == nil && len(p) == 1 && p[0].kind == field {
			e.Path = p[0].name
		}
		c = append(c, e)
	}
	slices.SortFunc(c, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	return c, nil
}

func parseList(x any) (List, error) {
	m, ok := x.(map[string]any)
	if !ok {
		return List{}, fmt.Errorf("is %s, want an object", kindOf(x))
	}
	matchers, ok := m["matchers"]
	if !ok { // a single rule, as some writers of version 3 have it
		r, err := parseRule(x)
		return List{Rules: []Rule{r}}, err
	}
	rules, err := parseRuleList(matchers)
	combine, _ := m["combine"].(string)
	return List{Rules: rules, Or: strings.EqualFold(combine, "OR")}, err
}

func parseRuleList(x any) ([]Rule, error) {
	list, ok := x.([]any)
	if !ok {
		return nil, fmt.Errorf("the rules are %s, want a list", kindOf(x))
	}
	var rules []Rule
	for _, y := range list {
		r, err := parseRule(y)
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return rules, nil
}

func parseRule(x any) (Rule, error) {
	m, ok := x.(map[string]any)
	if !ok {
		return Rule{}, fmt.Errorf("a rule is %s, want an object", kindOf(x))
	}
	name, _ := m["match"].(string)
	r := Rule{Name: name, Min: intOf(m["min"]), Max: intOf(m["max"]), Value: m["value"], Status: m["status"]}
	regex, hasRegex := m["regex"].(string)
	if name == "" { // older writers leave out the name
		switch {
		case hasRegex:
			r.Name = "regex"
		case r.Min != nil || r.Max != nil:
			r.Name = "type"
		default:
			return r, fmt.Errorf("a rule has no match")
		}
	}
	switch r.Name {
	case "regex":
		if !hasRegex {
			return r, fmt.Errorf("a rule regex has no regex")
		}
		return NewRegex(regex), nil
	case "date", "time", "timestamp", "datetime":
		r.Format, _ = m["format"].(string)
		if old, ok := m[r.Name].(string); ok && r.Format == "" {
			r.Format = old
		}
	case "eachKey", "eachValue":
		rules, err := parseRuleList(m["rules"])
		if err != nil {
			return r, fmt.Errorf("%s: %w", r.Name, err)
		}
		r.Rules = rules
	case "arrayContains":
		return r, r.parseVariants(m["variants"])
	}
	return r, nil
}

func (r *Rule) parseVariants(x any) error {
	list, ok := x.([]any)
	if !ok {
		return fmt.Errorf("arrayContains has no variants")
	}
	r.Variants = []Variant{}
	for _, y := range list {
		m, ok := y.(map[string]any)
		i := 0
		if n := intOf(m["index"]); n != nil {
			i = *n
		}
		if !ok || i < 0 {
			return fmt.Errorf("arrayContains: a variant is not an object with an index")
		}
		v := Variant{Index: i}
		if m["rules"] != nil {
			c, err := parseCategory(m["rules"], true)
			if err != nil {
				return fmt.Errorf("arrayContains: %w", err)
			}
			v.Rules = c
		}
		r.Variants = append(r.Variants, v)
	}
	return nil
}
