package match_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/contract/internal/match"
)

// The wording is that of the Pact tools where their compatibility suite asks
// for it.
func TestARuleDecides(t *testing.T) {
	for _, x := range []struct {
		name             string
		expected, actual string
		rules            string // path: list of rules
		says             string // "" is a match; else differences, one a line
	}{
		{"no rule: equal", `{"a":1}`, `{"a":1}`, `{}`, ""},
		{"no rule: big numbers are exact", `{"a":9007199254740993}`, `{"a":9007199254740992}`, `{}`,
			`$.a -> Expected 9007199254740992 (Integer) to be equal to 9007199254740993 (Integer)`},
		{"no rule: 1.0 is 1.00 but not 1", `[1.0, 1.0]`, `[1.00, 1]`, `{}`, `$[1] -> Expected 1 (Integer) to be equal to 1.0 (Decimal)`},
		{"equality resets what a parent says", `{"one":{"a":{"status":"OK"}}}`, `{"one":{"a":{"status":"Lovely"}}}`,
			`{"$.one":[{"match":"type"}],"$.one.a.status":[{"match":"equality"}]}`,
			`$.one.a.status -> Expected 'Lovely' (String) to be equal to 'OK' (String)`},
		{"type", `{"a":1}`, `{"a":1.5}`, `{"$.a":[{"match":"type"}]}`, ""},
		{"type of another kind", `{"a":["b"]}`, `{"a":"b"}`, `{"$.a":[{"match":"type"}]}`,
			`$.a -> Type mismatch: Expected 'b' (String) to be the same type as ["b"] (Array)`},
		{"type of an object wants its keys", `{"a":{"b":1,"c":2}}`, `{"a":{"b":5,"d":1}}`, `{"$.a":[{"match":"type"}]}`,
			`$.a.c -> Actual map is missing the following keys: c`},
		{"type of a list may be empty", `[1]`, `[]`, `{"$":[{"match":"type"}]}`, ""},
		{"type of a list holds for more elements", `[1]`, `[2,3,"4"]`, `{"$":[{"match":"type"}]}`,
			`$[2] -> Type mismatch: Expected '4' (String) to be the same type as 1 (Integer)`},
		{"min", `{"a":[1]}`, `{"a":[]}`, `{"$.a":[{"match":"type","min":1}]}`, `$.a -> Expected [] (size 0) to have minimum size of 1`},
		{"max", `{"a":[1]}`, `{"a":[1,2,3]}`, `{"$.a":[{"match":"type","max":2}]}`, `$.a -> Expected [1, 2, 3] (size 3) to have maximum size of 2`},
		{"min is not a child's", `{"a":[[1]]}`, `{"a":[[]]}`, `{"$.a":[{"match":"type","min":1}]}`, ""},
		{"nullable: null", `{"a":1}`, `{"a":null}`, `{"$.a":["OR",{"match":"type"},{"match":"null"}]}`, ""},
		{"nullable: another kind", `{"a":1}`, `{"a":"x"}`, `{"$.a":["OR",{"match":"type"},{"match":"null"}]}`,
			`$.a -> Type mismatch: Expected 'x' (String) to be the same type as 1 (Integer), and Expected 'x' (String) to be a null value`},
		{"nullable: missing", `{"a":1}`, `{}`, `{"$.a":["OR",{"match":"type"},{"match":"null"}]}`,
			`$.a -> Actual map is missing the following keys: a`},
		{"regex is about the whole value", `"b"`, `"abc"`, `{"$":[{"match":"regex","regex":"b"}]}`, `$ -> Expected 'abc' to match 'b'`},
		{"regex with alternatives is too", `"b"`, `"bx"`, `{"$":[{"match":"regex","regex":"a|b"}]}`, `$ -> Expected 'bx' to match 'a|b'`},
		{"regex reads numbers", `5`, `12`, `{"$":[{"match":"regex","regex":"\\d+"}]}`, ""},
		{"regex that Go does not know", `"b"`, `"b"`, `{"$":[{"match":"regex","regex":"(?=b)b"}]}`, "cannot be used"},
		{"include", `"a"`, `"dog"`, `{"$":[{"match":"include","value":"a"}]}`, `$ -> Expected 'dog' to include 'a'`},
		{"integer", `1`, `100.1`, `{"$":[{"match":"integer"}]}`, `$ -> Expected 100.1 (Decimal) to be an integer`},
		{"integer 2.0", `1`, `2.0`, `{"$":[{"match":"integer"}]}`, `$ -> Expected 2.0 (Decimal) to be an integer`},
		{"decimal", `1.5`, `100`, `{"$":[{"match":"decimal"}]}`, `$ -> Expected 100 (Integer) to be a decimal number`},
		{"number", `1`, `"100"`, `{"$":[{"match":"number"}]}`, `$ -> Expected '100' (String) to be a number`},
		{"boolean", `true`, `""`, `{"$":[{"match":"boolean"}]}`, `$ -> Expected '' (String) to match a boolean`},
		{"boolean as text", `true`, `"false"`, `{"$":[{"match":"boolean"}]}`, ""},
		{"null", `null`, `""`, `{"$":[{"match":"null"}]}`, `$ -> Expected '' (String) to be a null value`},
		{"date", `"2000-01-01"`, `"23/07/19"`, `{"$":[{"match":"date","format":"yyyy-MM-dd"}]}`,
			`$ -> Expected '23/07/19' to match a date pattern of 'yyyy-MM-dd'`},
		{"a day that does not exist", `"2000-01-01"`, `"2023-02-31"`, `{"$":[{"match":"date","format":"yyyy-MM-dd"}]}`,
			`$ -> Expected '2023-02-31' to match a date pattern of 'yyyy-MM-dd'`},
		{"notEmpty", `{"a":"x","b":["y"]}`, `{"a":"","b":[]}`, `{"$.a":[{"match":"notEmpty"}],"$.b":[{"match":"notEmpty"}]}`,
			"$.a -> Expected '' (String) to not be empty\n$.b -> Expected [] (Array) to not be empty"},
		{"semver", `{"a":"1.0.0","b":"1.0.0","c":"1.0.0"}`, `{"a":"1.0","b":"1.0abc","c":"1.2.3-rc.1+b"}`, `{"$.*":[{"match":"semver"}]}`,
			"$.a -> '1.0' is not a valid semantic version\n$.b -> '1.0abc' is not a valid semantic version"},
		{"eachKey", `{"one":"a"}`, `{"one":"a","100":"d"}`, `{"$":[{"match":"eachKey","rules":[{"match":"regex","regex":"[a-z]+"}],"value":"one"}]}`,
			`$['100'] -> Expected '100' to match '[a-z]+'`},
		{"eachValue", `{"one":"a","two":"b"}`, `{"one":"a","three":"b","four":"100"}`,
			`{"$":[{"match":"eachValue","rules":[{"match":"regex","regex":"[a-z]+"}],"value":"a"}]}`, `$.four -> Expected '100' to match '[a-z]+'`},
		{"values", `{"one":{"n":1}}`, `{"x":{"n":2},"y":{"n":"3"}}`, `{"$":[{"match":"values"}],"$.*.n":[{"match":"type"}]}`,
			`$.y.n -> Type mismatch: Expected '3' (String) to be the same type as 1 (Integer)`},
		{"arrayContains in any order", `[{"k":"a","v":1},{"k":"b","v":1}]`, `[{"k":"b","v":2},{"k":"z","v":0},{"k":"a","v":3}]`,
			`{"$":[{"match":"arrayContains","variants":[{"index":0,"rules":{"$.v":{"matchers":[{"match":"type"}]}}},{"index":1,"rules":{"$.v":{"matchers":[{"match":"type"}]}}}]}]}`, ""},
		{"arrayContains without one", `[{"k":"a"},{"k":"b"}]`, `[{"k":"a"}]`,
			`{"$":[{"match":"arrayContains","variants":[{"index":0,"rules":{}},{"index":1,"rules":{}}]}]}`,
			`$ -> Variant at index 1 ({"k":"b"}) was not found in the actual list`},
		{"contentType JSON in text", `"{}"`, `"{"`, `{"$":[{"match":"contentType","value":"application/json"}]}`,
			`$ -> Expected '{' to have content type 'application/json'`},
		{"the most exact path decides", `{"a":{"b":"x"}}`, `{"a":{"b":"y"}}`, `{"$.*.b":[{"match":"type"}],"$.a.b":[{"match":"equality"}]}`,
			`$.a.b -> Expected 'y' (String) to be equal to 'x' (String)`},
		{"names that need quotes", `{"a-b c":{"x":1}}`, `{"a-b c":{"x":"1"}}`, `{"$['a-b c'].x":[{"match":"integer"}]}`,
			`$['a-b c'].x -> Expected '1' (String) to be an integer`},
		{"a rule nobody knows", `1`, `1`, `{"$":[{"match":"telepathy"}]}`, `$ -> No catalogue entry found for the rule "telepathy"`},
	} {
		t.Run(x.name, func(t *testing.T) {
			rules := parseRules(t, x.rules)
			var said []string
			for _, m := range match.JSON(decode(t, x.expected), decode(t, x.actual), rules["body"], true) {
				said = append(said, m.String())
			}
			got := strings.Join(said, "\n")
			if got != x.says && (x.says == "" || !strings.Contains(got, x.says) || strings.HasPrefix(x.says, "$")) {
				t.Errorf("says\n%s\nwant\n%s", got, x.says)
			}
		})
	}
}

// parseRules reads {"path": ["OR", rule…]}.
func parseRules(t *testing.T, text string) match.Rules {
	t.Helper()
	body := map[string]any{}
	for path, list := range decode(t, text).(map[string]any) {
		matchers, combine := list.([]any), "AND"
		if matchers[0] == "OR" {
			matchers, combine = matchers[1:], "OR"
		}
		body[path] = map[string]any{"combine": combine, "matchers": matchers}
	}
	rules, err := match.ParseRules(map[string]any{"body": body})
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func decode(t *testing.T, text string) any {
	t.Helper()
	v, err := match.Decode([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return v
}

func TestDatesAreReadByJavaPatterns(t *testing.T) {
	for _, x := range []struct {
		pattern, text string
		want          bool
	}{
		{"yyyy-MM-dd", "2024-02-29", true},
		{"yyyy-MM-dd", "2023-02-29", false},
		{"yyyy-MM-dd", "2024-2-9", false},
		{"d/M/yy", "9/12/24", true},
		{"yyyy-MM-dd'T'HH:mm:ss", "2024-01-01T23:59:59", true},
		{"yyyy-MM-dd'T'HH:mm:ss", "2024-01-01T24:00:00", false},
		{"yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "2024-01-01T00:00:00.123+01:00", true},
		{"yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "2024-01-01T00:00:00.123Z", true},
		{"yyyy-MM-dd'T'HH:mm:ss.SSSXXX", "2024-01-01T00:00:00.12Z", false},
		{"yyyy-MM-dd'T'HH:mm:ssX", "2024-01-01T00:00:00+01", true},
		{"yyyy-MM-dd'T'HH:mm:ssZ", "2024-01-01T00:00:00+0100", true},
		{"yyyy-MM-dd'T'HH:mm:ssZ", "2024-01-01T00:00:00Z", false},
		{"yyyy-MM-dd'T'HH:mm:ss[.SSS]XXX", "2024-01-01T00:00:00Z", true},
		{"yyyy-MM-dd'T'HH:mm:ss[.SSS]XXX", "2024-01-01T00:00:00.123Z", true},
		{"yyyyMMdd", "20240131", true},
		{"EEE, d MMM yyyy HH:mm:ss z", "Mon, 1 Jan 2024 00:00:00 GMT", true},
		{"EEEE d MMMM yyyy", "Monday 1 January 2024", true},
		{"hh:mm a", "12:30 PM", true},
		{"hh:mm a", "13:30 PM", false},
		{"HH 'o''clock'", "12 o'clock", true},
		{"HH:mm", "12:30 ", false},
	} {
		list := fmt.Sprintf(`{"$":[{"match":"datetime","format":%q}]}`, x.pattern)
		found := match.JSON("x", x.text, parseRules(t, list)["body"], true)
		if got := len(found) == 0; got != x.want {
			t.Errorf("%s by %s: %v, want %v", x.text, x.pattern, got, x.want)
		}
	}
}

func TestStatusClasses(t *testing.T) {
	for _, x := range []struct {
		rule   string
		status int
		says   string
	}{
		{`"success"`, 299, ""},
		{`"success"`, 400, "status -> Expected status code 400 to be a Successful response (200–299)"},
		{`"clientError"`, 404, ""},
		{`"nonError"`, 302, ""},
		{`[200,404]`, 404, ""},
		{`[200,404]`, 500, "status -> Expected status code 500 to be a status of [200 404]"},
	} {
		rules, err := match.ParseRules(decode(t, `{"status":{"matchers":[{"match":"statusCode","status":`+x.rule+`}]}}`))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, m := range match.Status(200, x.status, rules["status"]) {
			got = m.String()
		}
		if got != x.says {
			t.Errorf("%s and %d: %q, want %q", x.rule, x.status, got, x.says)
		}
	}
}

func TestNumbersInHeadersAndQueriesAreReadFromText(t *testing.T) {
	rules, err := match.ParseRules(decode(t, `{"header":{"X-A":{"matchers":[{"match":"integer"}]}},"query":{"a":{"matchers":[{"match":"decimal"}]}}}`))
	if err != nil {
		t.Fatal(err)
	}
	one := func(s string) map[string][]string { return map[string][]string{"x-a": {s}, "a": {s}} }
	if found := match.Headers(map[string][]string{"X-A": {"1"}}, one("100"), rules["header"]); len(found) > 0 {
		t.Error(match.Table(found))
	}
	if found := match.Headers(map[string][]string{"X-A": {"1"}}, one("1.5"), rules["header"]); len(found) != 1 {
		t.Errorf("1.5 is an integer: %v", found)
	}
	if found := match.Query(map[string][]string{"a": {"1.5"}}, map[string][]string{"a": {"2.25"}}, rules["query"]); len(found) > 0 {
		t.Error(match.Table(found))
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"$", "$.a['b c'][0][*].*", "$.a[", "$['", "$..a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := match.ParsePath(s)
		if err != nil {
			return
		}
		if q, err := match.ParsePath(p.String()); err == nil && q.String() != p.String() {
			t.Errorf("%q is read as %s, and that as %s", s, p, q)
		}
	})
}
