package contract

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/cleave-go/cleave/contract/internal/match"
	"github.com/cleave-go/cleave/contract/internal/pact"
)

const jsonType = "application/json"

// toJSON returns v as it is decoded from its JSON. Protobuf messages have the
// form that protobuf defines.
func toJSON(v any) (any, error) {
	var data []byte
	var err error
	if m, ok := v.(proto.Message); ok {
		data, err = protojson.Marshal(m)
	} else {
		data, err = json.Marshal(v)
	}
	if err != nil {
		return nil, err
	}
	return match.Decode(data)
}

// example returns the body that v is, with the rules that matchers set; loose
// says that what has no matcher matches by type.
func example(v any, matchers []Matcher, loose bool) (pact.Body, match.Rules, error) {
	doc, err := toJSON(v)
	if err != nil {
		return pact.Body{}, nil, err
	}
	body := pact.Body{Kind: pact.JSON, Type: jsonType, Value: doc}
	category, err := rulesFor(v, doc, matchers, loose)
	if err != nil || len(category) == 0 {
		return body, nil, err
	}
	if broken := match.JSON(doc, doc, category, true); len(broken) > 0 {
		return body, nil, fmt.Errorf("the example does not keep its own rules:\n%s", match.Table(broken))
	}
	return body, match.Rules{"body": category}, nil
}

func rulesFor(v, doc any, matchers []Matcher, loose bool) (match.Category, error) {
	var category match.Category
	seen := map[string]bool{}
	places := findPlaces(v)
	for _, m := range matchers {
		path, err := places.of(m)
		if err != nil {
			return nil, err
		}
		if seen[path.String()] {
			return nil, fmt.Errorf("two matchers are at %s", path)
		}
		if !path.In(doc) {
			return nil, fmt.Errorf("the example has nothing at %s, where the matcher %s is: a zero value is left out of the JSON, so give it another", path, m.name)
		}
		seen[path.String()] = true
		category = append(category, match.NewEntry(path, m.list))
	}
	if !loose {
		return category, nil
	}
	one := 1
	for _, path := range match.Lists(doc) {
		if !seen[path.String()] {
			seen[path.String()] = true
			category = append(category, match.NewEntry(path, match.List{Rules: []match.Rule{{Name: "type", Min: &one}}}))
		}
	}
	if !seen["$"] {
		category = append(category, match.NewEntry(nil, match.List{Rules: []match.Rule{{Name: "type"}}}))
	}
	return category, nil
}

// place is an address in an example and where its value is in the JSON.
type place struct {
	pointer any
	path    match.Path
}

type places []place

func findPlaces(v any) places {
	var p places
	if r := reflect.ValueOf(v); r.Kind() == reflect.Pointer && !r.IsNil() {
		p.walk(r.Elem(), nil)
	}
	return p
}

func (p places) of(m Matcher) (match.Path, error) {
	if err := m.check(); err != nil {
		return nil, err
	}
	if m.path != "" {
		return match.ParsePath(m.path)
	}
	var found []match.Path
	for _, x := range p {
		if x.pointer == m.field {
			found = append(found, x.path)
		}
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("the matcher %s points at a %T outside the example, or at a field without JSON", m.name, m.field)
	case 1:
		return found[0], nil
	}
	return nil, fmt.Errorf("the matcher %s points at a value that the example has at both %s and %s", m.name, found[0], found[1])
}

// maxDepth bounds how deep an example is looked into.
const maxDepth = 100

// walk notes the places of an addressable value and of what is below it.
func (p *places) walk(v reflect.Value, path match.Path) {
	if len(path) > maxDepth {
		return
	}
	if v.CanAddr() && v.Addr().CanInterface() {
		*p = append(*p, place{v.Addr().Interface(), path})
	}
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !v.IsNil() && !wellKnown(v) {
			p.walk(v.Elem(), path)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			p.walkField(v.Type().Field(i), v.Field(i), path)
		}
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return
		}
		for i := range v.Len() {
			below := path.At(i)
			if v.Len() == 1 {
				below = path.All()
			}
			p.walk(v.Index(i), below)
		}
	}
}

func (p *places) walkField(f reflect.StructField, v reflect.Value, path match.Path) {
	if f.Tag.Get("protobuf_oneof") != "" {
		p.walk(v, path)
		return
	}
	name, inline := fieldName(f)
	switch {
	case inline:
		p.walk(v, path)
	case name != "":
		p.walk(v, path.Field(name))
	}
}

// fieldName returns the key of a field, "" when it has none; inline says that
// the fields of an embedded struct are the struct's own.
func fieldName(f reflect.StructField) (name string, inline bool) {
	if tag := f.Tag.Get("protobuf"); tag != "" {
		for part := range strings.SplitSeq(tag, ",") {
			if s, ok := strings.CutPrefix(part, "json="); ok {
				return s, false
			}
			if s, ok := strings.CutPrefix(part, "name="); ok {
				name = s
			}
		}
		return name, false
	}
	tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	switch {
	case f.Tag.Get("json") == "-":
		return "", false
	case f.Anonymous && tag == "":
		return "", true
	case !f.IsExported():
		return "", false
	case tag != "":
		return tag, false
	}
	return f.Name, false
}

// wellKnown reports whether v is a protobuf message with a JSON form of its
// own, like Timestamp.
func wellKnown(v reflect.Value) bool {
	m, ok := v.Interface().(proto.Message)
	return ok && strings.HasPrefix(string(m.ProtoReflect().Descriptor().FullName()), "google.protobuf.")
}

var errNoPointer = errors.New("want a pointer to the example, so that matchers can point at its fields")

func checkExample(v any) error {
	if r := reflect.ValueOf(v); r.Kind() != reflect.Pointer || r.IsNil() {
		return errNoPointer
	}
	return nil
}
