package match

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// check applies one rule to a value itself, not to what lies below, and
// returns what is wrong.
func (r Rule) check(expected, actual any) string {
	if r.err != nil {
		return fmt.Sprintf("the rule %s cannot be used: %v", r, r.err)
	}
	switch r.Name {
	case "equality":
		return checkEqual(expected, actual)
	case "type":
		return r.checkType(expected, actual)
	case "regex":
		return r.checkRegex(actual)
	case "include":
		return r.checkInclude(actual)
	case "integer", "decimal", "number", "boolean", "null":
		return r.checkKind(actual)
	case "date", "time", "datetime", "timestamp":
		return r.checkTime(actual)
	case "notEmpty":
		return checkNotEmpty(expected, actual)
	case "semver":
		if s, ok := text(actual); !ok || !semver.MatchString(s) {
			return show(actual) + " is not a valid semantic version"
		}
		return ""
	case "contentType":
		return r.checkContent(actual)
	case "values", "eachKey", "eachValue":
		return checkContainer(r.Name, actual)
	case "arrayContains":
		if _, ok := actual.([]any); !ok {
			return "Expected " + showKind(actual) + " to be a list"
		}
		return ""
	}
	return fmt.Sprintf("No catalogue entry found for the rule %q", r.Name)
}

func checkEqual(expected, actual any) string {
	if kindOf(expected) == "Object" || kindOf(expected) == "Array" {
		if sameKind(expected, actual) {
			return "" // compared element by element
		}
	} else if equal(expected, actual) {
		return ""
	}
	return "Expected " + showKind(actual) + " to be equal to " + showKind(expected)
}

func (r Rule) checkType(expected, actual any) string {
	if !sameKind(expected, actual) {
		return "Type mismatch: Expected " + showKind(actual) + " to be the same type as " + showKind(expected)
	}
	size := -1
	switch a := actual.(type) {
	case []any:
		size = len(a)
	case map[string]any:
		size = len(a)
	}
	switch {
	case size < 0:
	case r.Min != nil && size < *r.Min:
		return fmt.Sprintf("Expected %s (size %d) to have minimum size of %d", spaced(actual), size, *r.Min)
	case r.Max != nil && size > *r.Max:
		return fmt.Sprintf("Expected %s (size %d) to have maximum size of %d", spaced(actual), size, *r.Max)
	}
	return ""
}

// spaced shows a list with a space behind each comma.
func spaced(v any) string {
	list, ok := v.([]any)
	if !ok {
		return show(v)
	}
	parts := make([]string, len(list))
	for i, x := range list {
		parts[i] = show(x)
	}
	return clip("[" + strings.Join(parts, ", ") + "]")
}

// text returns a scalar as the text that rules on text see.
func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return string(v), true
	case bool:
		return fmt.Sprint(v), true
	}
	return "", false
}

func (r Rule) checkRegex(actual any) string {
	if s, ok := text(actual); ok && r.re.MatchString(s) {
		return ""
	}
	return fmt.Sprintf("Expected %s to match '%s'", show(actual), r.Regex)
}

func (r Rule) checkInclude(actual any) string {
	if s, ok := text(actual); ok && strings.Contains(s, fmt.Sprint(r.Value)) {
		return ""
	}
	return fmt.Sprintf("Expected %s to include '%v'", show(actual), r.Value)
}

var (
	integerText = regexp.MustCompile(`\A-?\d+\z`)
	decimalText = regexp.MustCompile(`\A-?\d+\.\d+\z`)
	semver      = regexp.MustCompile(`\A(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?\z`)
)

func (r Rule) checkKind(actual any) string {
	n, number := actual.(json.Number)
	var what string
	var ok bool
	switch r.Name {
	case "integer":
		what, ok = "to be an integer", number && isInteger(n)
	case "decimal":
		what, ok = "to be a decimal number", number && !isInteger(n)
	case "number":
		what, ok = "to be a number", number
	case "boolean":
		_, isBool := actual.(bool)
		what, ok = "to match a boolean", isBool || actual == "true" || actual == "false"
	case "null":
		what, ok = "to be a null value", actual == nil
	}
	if ok {
		return ""
	}
	return "Expected " + showKind(actual) + " " + what
}

func (r Rule) checkTime(actual any) string {
	format, what := r.Format, r.Name
	if what == "datetime" {
		what = "timestamp"
	}
	if format == "" {
		format = map[string]string{"date": "yyyy-MM-dd", "time": "HH:mm:ss", "timestamp": "yyyy-MM-dd'T'HH:mm:ssXXX"}[what]
	}
	s, ok := actual.(string)
	if ok {
		if err := matchTime(format, s); err == nil {
			return ""
		} else if err != errNoMatch {
			return err.Error()
		}
	}
	return fmt.Sprintf("Expected %s to match a %s pattern of '%s'", show(actual), what, format)
}

func checkNotEmpty(expected, actual any) string {
	if !sameKind(expected, actual) {
		return "Type mismatch: Expected " + showKind(actual) + " to be the same type as " + showKind(expected)
	}
	empty := actual == nil || actual == ""
	switch a := actual.(type) {
	case []any:
		empty = len(a) == 0
	case map[string]any:
		empty = len(a) == 0
	}
	if empty {
		return "Expected " + showKind(actual) + " to not be empty"
	}
	return ""
}

// checkContent knows JSON and text; of the rest, what the standard library
// recognises by its first bytes.
func (r Rule) checkContent(actual any) string {
	want := fmt.Sprint(r.Value)
	s, isText := actual.(string)
	switch {
	case isJSON(want):
		if !isText {
			return ""
		}
		if _, err := Decode([]byte(s)); err == nil {
			return ""
		}
	case isText:
		got := http.DetectContentType([]byte(s))
		if base(got) == base(want) {
			return ""
		}
		return fmt.Sprintf("Expected binary contents to have content type '%s' but detected contents was '%s'", want, base(got))
	}
	return fmt.Sprintf("Expected %s to have content type '%s'", show(actual), want)
}

func checkContainer(rule string, actual any) string {
	switch actual.(type) {
	case map[string]any:
		return ""
	case []any:
		if rule != "eachKey" {
			return ""
		}
	}
	return fmt.Sprintf("Expected %s to have the elements that %s is about", showKind(actual), rule)
}

// Status compares status codes.
func Status(expected, actual int, rules Category) []Mismatch {
	rule, message := "equality", ""
	if len(rules) > 0 {
		rule = rules[0].List.String()
		for _, r := range rules[0].List.Rules {
			if r.Name != "statusCode" {
				message = fmt.Sprintf("No catalogue entry found for the rule %q on a status", r.Name)
			} else if what := r.statusClass(actual); what != "" {
				message = fmt.Sprintf("Expected status code %d to be a %s", actual, what)
			}
		}
	} else if expected != actual {
		message = fmt.Sprintf("Expected status code %d but received %d", expected, actual)
	}
	if message == "" {
		return nil
	}
	return []Mismatch{{Part: "status", Expected: fmt.Sprint(expected), Actual: fmt.Sprint(actual), Rule: rule, Message: message}}
}

// statusClass returns what the code should have been, "" when it is.
func (r Rule) statusClass(code int) string {
	if list, ok := r.Status.([]any); ok {
		for _, v := range list {
			if n := intOf(v); n != nil && *n == code {
				return ""
			}
		}
		return fmt.Sprintf("status of %v", list)
	}
	class := map[string]struct {
		from, to int
		what     string
	}{
		"info":        {100, 199, "Informational response (100–199)"},
		"success":     {200, 299, "Successful response (200–299)"},
		"redirect":    {300, 399, "Redirect (300–399)"},
		"clientError": {400, 499, "Client error (400–499)"},
		"serverError": {500, 599, "Server error (500–599)"},
		"nonError":    {100, 399, "Non-error response (< 400)"},
		"error":       {400, 599, "Error response (>= 400)"},
	}
	c, ok := class[fmt.Sprint(r.Status)]
	switch {
	case !ok:
		return fmt.Sprintf("status of the unknown class %v", r.Status)
	case code < c.from || code > c.to:
		return c.what
	}
	return ""
}

// validDay reports whether there is such a day.
func validDay(year, month, day int) bool {
	t := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	return t.Year() == year && int(t.Month()) == month && t.Day() == day
}
