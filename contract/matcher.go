package contract

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/cleave-go/cleave/contract/internal/match"
)

// Matcher says how one field of an example matches.
type Matcher struct {
	field any    // a pointer into the example
	path  string // instead, by At
	name  string
	list  match.List
}

func rule(field any, r match.Rule) Matcher {
	return Matcher{field: field, name: r.Name, list: match.List{Rules: []match.Rule{r}}}
}

// Exactly matches the example's value only.
func Exactly[V any](field *V) Matcher { return rule(field, match.Rule{Name: "equality"}) }

// Like matches values of the example's type. It is what holds in a reply and an
// event anyway.
func Like[V any](field *V) Matcher { return rule(field, match.Rule{Name: "type"}) }

// Regex matches text that re, in Go's syntax, matches as a whole.
func Regex[S ~string](field *S, re string) Matcher { return rule(field, match.NewRegex(re)) }

// OneOf matches these values: strings, numbers or the values of a protobuf
// enum.
func OneOf[V comparable](field *V, values ...V) Matcher {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = regexp.QuoteMeta(textOf(v))
	}
	m := rule(field, match.NewRegex(strings.Join(texts, "|")))
	m.name = "one of"
	return m
}

// textOf writes v as the text that JSON has.
func textOf(v any) string {
	if e, ok := v.(protoreflect.Enum); ok {
		if d := e.Descriptor().Values().ByNumber(e.Number()); d != nil {
			return string(d.Name())
		}
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	var s string
	if json.Unmarshal(data, &s) == nil {
		return s
	}
	return string(data)
}

// EachLike matches lists with at least least elements, each like the example's.
func EachLike[E any](field *[]E, least int) Matcher {
	return rule(field, match.Rule{Name: "type", Min: &least})
}

// EachValue matches maps with other keys, each value like the example's.
func EachValue[K comparable, V any](field *map[K]V) Matcher {
	return rule(field, match.Rule{Name: "values"})
}

// Nullable matches null too. The field itself must be there.
func Nullable[V any](field **V) Matcher {
	return Matcher{field: field, name: "nullable", list: match.List{Or: true, Rules: []match.Rule{{Name: "type"}, {Name: "null"}}}}
}

// Integer matches numbers without a fraction.
func Integer[V any](field *V) Matcher { return rule(field, match.Rule{Name: "integer"}) }

// Include matches text that has part in it.
func Include[S ~string](field *S, part string) Matcher {
	return rule(field, match.Rule{Name: "include", Value: part})
}

// NotEmpty matches anything of the example's type but "", [] and {}.
func NotEmpty[V any](field *V) Matcher { return rule(field, match.Rule{Name: "notEmpty"}) }

// Time matches dates and times in a Java pattern: "yyyy-MM-dd'T'HH:mm:ssX".
func Time[V any](field *V, pattern string) Matcher {
	return rule(field, match.Rule{Name: "datetime", Format: pattern})
}

// At puts a matcher at a path of the JSON document, for what has no address:
// At("$.prices['a-1']", Like[any](nil)).
func At(path string, m Matcher) Matcher {
	m.path, m.field = path, nil
	return m
}

func (m Matcher) check() error {
	for _, r := range m.list.Rules {
		if err := r.Err(); err != nil {
			return err
		}
	}
	if m.path == "" && (m.field == nil || reflect.ValueOf(m.field).IsNil()) {
		return fmt.Errorf("the matcher %s points at nothing", m.name)
	}
	return nil
}
