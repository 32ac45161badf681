package graphql

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/vektah/gqlparser/v2/ast"
)

// coercer turns literals and JSON variables into Go values of the types the
// schema asks for: string, int64, float64, bool, time.Time, []any and
// map[string]any. Its errors name the field, as in input.lineItems[0].quantity.
type coercer struct {
	types map[string]*ast.Definition
	vars  map[string]any
}

// variables coerces what the request brings for op's variables.
func (c *coercer) variables(op *ast.OperationDefinition, raw map[string]any) *Error {
	c.vars = make(map[string]any, len(op.VariableDefinitions))
	for _, def := range op.VariableDefinitions {
		v, given := raw[def.Variable]
		switch {
		case given:
			coerced, err := c.json(v, def.Type, def.Variable)
			if err != nil {
				return at(err, def.Position)
			}
			c.vars[def.Variable] = coerced
		case def.DefaultValue != nil:
			coerced, err := c.literal(def.DefaultValue, def.Type, def.Variable)
			if err != nil {
				return at(err, def.Position)
			}
			c.vars[def.Variable] = coerced
		case def.Type.NonNull:
			return at(badInput(def.Variable, "the variable $%s of type %s is missing", def.Variable, def.Type), def.Position)
		}
	}
	return nil
}

func at(e *Error, pos *ast.Position) *Error {
	if pos != nil && len(e.Locations) == 0 {
		e.Locations = []Location{{pos.Line, pos.Column}}
	}
	return e
}

// arguments coerces a field's arguments; those neither given nor defaulted are absent.
func (c *coercer) arguments(defs ast.ArgumentDefinitionList, given ast.ArgumentList) (map[string]any, *Error) {
	if len(defs) == 0 {
		return nil, nil
	}
	args := make(map[string]any, len(defs))
	for _, def := range defs {
		v, ok, err := c.argument(def, given.ForName(def.Name))
		if err != nil {
			return nil, err
		}
		if ok {
			args[def.Name] = v
		}
	}
	return args, nil
}

func (c *coercer) argument(def *ast.ArgumentDefinition, a *ast.Argument) (v any, ok bool, e *Error) {
	if a != nil && a.Value.Kind == ast.Variable {
		if v, ok := c.vars[a.Value.Raw]; ok {
			if v == nil && def.Type.NonNull {
				return nil, false, at(badInput(def.Name, "must not be null"), a.Position)
			}
			return v, true, nil
		}
		a = nil
	}
	switch {
	case a != nil:
		v, e = c.literal(a.Value, def.Type, def.Name)
		if e != nil {
			e = at(e, a.Position)
		}
		return v, e == nil, e
	case def.DefaultValue != nil:
		v, e = c.literal(def.DefaultValue, def.Type, def.Name)
		return v, e == nil, e
	case def.Type.NonNull:
		return nil, false, badInput(def.Name, "is missing")
	}
	return nil, false, nil
}

// literal coerces a value written in the document or the schema.
func (c *coercer) literal(v *ast.Value, t *ast.Type, field string) (any, *Error) {
	switch {
	case v.Kind == ast.Variable:
		value := c.vars[v.Raw]
		if value == nil && t.NonNull {
			return nil, badInput(field, "must not be null")
		}
		return value, nil
	case v.Kind == ast.NullValue:
		return c.null(t, field)
	case t.Elem != nil && v.Kind == ast.ListValue:
		list := make([]any, len(v.Children))
		for i, child := range v.Children {
			item, err := c.literal(child.Value, t.Elem, fmt.Sprintf("%s[%d]", field, i))
			if err != nil {
				return nil, err
			}
			list[i] = item
		}
		return list, nil
	case t.Elem != nil:
		item, err := c.literal(v, t.Elem, field)
		return []any{item}, err
	case v.Kind == ast.ObjectValue:
		return c.literalObject(v, t, field)
	case v.Kind == ast.ListValue:
		return nil, badInput(field, "is a list, not a %s", t.NamedType)
	case v.Kind == ast.EnumValue:
		return c.enum(v.Raw, t, field)
	}
	plain, err := v.Value(nil)
	if v.Kind == ast.IntValue && (err != nil || t.NamedType == "Float") {
		plain, err = json.Number(v.Raw), nil
	}
	if err != nil || c.types[t.NamedType].Kind == ast.Enum {
		return nil, badInput(field, "%.40s is not a %s", v.Raw, t.NamedType)
	}
	return c.scalar(plain, t, field)
}

func (c *coercer) literalObject(v *ast.Value, t *ast.Type, field string) (any, *Error) {
	if c.types[t.NamedType].Kind != ast.InputObject {
		if builtin[t.NamedType] || c.types[t.NamedType].Kind == ast.Enum {
			return nil, badInput(field, "is an object, not a %s", t.NamedType)
		}
		plain, err := v.Value(c.vars)
		if err != nil {
			return nil, badInput(field, "%v", err)
		}
		return plain, nil
	}
	return c.object(t, field, len(v.Children), func(f *ast.FieldDefinition, path string) (any, bool, *Error) {
		child := v.Children.ForName(f.Name)
		if child == nil {
			return nil, false, nil
		}
		if child.Kind == ast.Variable {
			if _, given := c.vars[child.Raw]; !given {
				return nil, false, nil
			}
		}
		value, err := c.literal(child, f.Type, path)
		return value, true, err
	}, func(known func(string) bool) string {
		for _, child := range v.Children {
			if !known(child.Name) {
				return child.Name
			}
		}
		return ""
	})
}

// json coerces a decoded JSON value; numbers are json.Number.
func (c *coercer) json(v any, t *ast.Type, field string) (any, *Error) {
	if v == nil {
		return c.null(t, field)
	}
	if t.Elem != nil {
		items, ok := v.([]any)
		if !ok {
			item, err := c.json(v, t.Elem, field)
			return []any{item}, err
		}
		list := make([]any, len(items))
		for i, item := range items {
			coerced, err := c.json(item, t.Elem, fmt.Sprintf("%s[%d]", field, i))
			if err != nil {
				return nil, err
			}
			list[i] = coerced
		}
		return list, nil
	}
	switch c.types[t.NamedType].Kind {
	case ast.Enum:
		if name, ok := v.(string); ok {
			return c.enum(name, t, field)
		}
		return nil, badInput(field, "is not a %s", t.NamedType)
	case ast.InputObject:
		m, ok := v.(map[string]any)
		if !ok {
			return nil, badInput(field, "is not an object of type %s", t.NamedType)
		}
		return c.object(t, field, len(m), func(f *ast.FieldDefinition, path string) (any, bool, *Error) {
			v, given := m[f.Name]
			if !given {
				return nil, false, nil
			}
			coerced, err := c.json(v, f.Type, path)
			return coerced, true, err
		}, func(known func(string) bool) string {
			for _, name := range sortedKeys(m) {
				if !known(name) {
					return name
				}
			}
			return ""
		})
	}
	return c.scalar(v, t, field)
}

func (c *coercer) null(t *ast.Type, field string) (any, *Error) {
	if t.NonNull {
		return nil, badInput(field, "must not be null")
	}
	return nil, nil
}

// object coerces an input object whose fields get reads; stranger names a field the type does not have.
func (c *coercer) object(t *ast.Type, field string, given int, get func(*ast.FieldDefinition, string) (any, bool, *Error), stranger func(func(string) bool) string) (any, *Error) {
	def := c.types[t.NamedType]
	if name := stranger(func(name string) bool { return def.Fields.ForName(name) != nil }); name != "" {
		return nil, badInput(field+"."+name, "%s has no field %.80s", def.Name, name)
	}
	if def.Directives.ForName("oneOf") != nil && given != 1 {
		return nil, badInput(field, "needs exactly one of %s's fields", def.Name)
	}
	out := make(map[string]any, len(def.Fields))
	for _, f := range def.Fields {
		path := field + "." + f.Name
		v, ok, err := get(f, path)
		switch {
		case err != nil:
			return nil, err
		case ok:
			out[f.Name] = v
		case f.DefaultValue != nil:
			if out[f.Name], err = c.literal(f.DefaultValue, f.Type, path); err != nil {
				return nil, err
			}
		case f.Type.NonNull:
			return nil, badInput(path, "is missing")
		}
	}
	return out, nil
}

func (c *coercer) enum(name string, t *ast.Type, field string) (any, *Error) {
	def := c.types[t.NamedType]
	if def.Kind != ast.Enum || def.EnumValues.ForName(name) == nil {
		return nil, badInput(field, "%.40s is not a %s", name, t.NamedType)
	}
	return name, nil
}

func (c *coercer) scalar(v any, t *ast.Type, field string) (any, *Error) {
	wrong := func() *Error { return badInput(field, "%s is not a %s", brief(v), t.NamedType) }
	switch t.NamedType {
	case "Int":
		n, ok := integer(v)
		if !ok || n < math.MinInt32 || n > math.MaxInt32 {
			return nil, wrong()
		}
		return n, nil
	case "Float":
		f, ok := float(v)
		if !ok || math.IsInf(f, 0) || math.IsNaN(f) {
			return nil, wrong()
		}
		return f, nil
	case "ID":
		if n, ok := v.(json.Number); ok {
			if _, whole := integer(n); whole {
				return n.String(), nil
			}
			return nil, wrong()
		}
		if n, ok := v.(int64); ok {
			return strconv.FormatInt(n, 10), nil
		}
		fallthrough
	case "String":
		if s, ok := v.(string); ok && utf8.ValidString(s) {
			return s, nil
		}
		return nil, wrong()
	case "Boolean":
		if b, ok := v.(bool); ok {
			return b, nil
		}
		return nil, wrong()
	case "DateTime":
		return dateTime(v, field)
	}
	return v, nil
}

func dateTime(v any, field string) (any, *Error) {
	text, ok := v.(string)
	if ok {
		if t, err := time.Parse(time.RFC3339Nano, text); err == nil && t.UTC().Year() >= 1 && t.UTC().Year() <= 9999 {
			return t, nil
		}
	}
	return nil, badInput(field, "%s is not a DateTime such as 2026-11-03T18:30:00Z", brief(v))
}

// brief names a value in an error without repeating all of it.
func brief(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%.40q", v)
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	}
	return fmt.Sprintf("%.40v", v)
}

func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int64:
		return n, true
	case float64:
		return int64(n), n == math.Trunc(n) && math.Abs(n) < 1<<53
	case json.Number:
		if i, err := n.Int64(); err == nil {
			return i, true
		}
		f, err := n.Float64()
		return int64(f), err == nil && f == math.Trunc(f) && math.Abs(f) < 1<<53
	}
	return 0, false
}

func float(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	case json.Number:
		f, err := n.Float64()
		return f, err == nil
	}
	return 0, false
}
