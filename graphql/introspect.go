package graphql

import (
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// attachIntrospection serves __schema and __type from the public schema.
func (s *Schema) attachIntrospection() {
	root := s.types[s.public.Query.Name]
	root.byName["__schema"].introspect = func(map[string]any) any { return schemaView{s.public} }
	root.byName["__type"].introspect = func(args map[string]any) any {
		name, _ := args["name"].(string)
		return typeNamed(s.public, name)
	}
}

// The views below answer the fields of the introspection types of the same name.

type schemaView struct{ s *ast.Schema }

func (v schemaView) readField(name string, _ map[string]any) any {
	switch name {
	case "description":
		return optional(v.s.Description)
	case "types":
		var list []any
		for _, name := range sortedKeys(v.s.Types) {
			list = append(list, typeNamed(v.s, name))
		}
		return list
	case "queryType":
		return definition(v.s, v.s.Query)
	case "mutationType":
		return definition(v.s, v.s.Mutation)
	case "subscriptionType":
		return definition(v.s, v.s.Subscription)
	case "directives":
		list := []any{}
		for _, name := range sortedKeys(v.s.Directives) {
			list = append(list, directiveView{v.s, v.s.Directives[name]})
		}
		return list
	}
	return nil
}

func definition(s *ast.Schema, def *ast.Definition) any {
	if def == nil {
		return nil
	}
	return typeNamed(s, def.Name)
}

func typeNamed(s *ast.Schema, name string) any {
	if def := s.Types[name]; def != nil {
		return typeView{s: s, def: def}
	}
	return nil
}

// typeView is a named type, or a wrapping of one.
type typeView struct {
	s   *ast.Schema
	def *ast.Definition // nil for LIST and NON_NULL
	typ *ast.Type
}

func typeOf(s *ast.Schema, t *ast.Type) any {
	if t.NonNull || t.Elem != nil {
		return typeView{s: s, typ: t}
	}
	return typeNamed(s, t.NamedType)
}

func (v typeView) readField(name string, args map[string]any) any {
	if v.def == nil {
		return v.wrapping(name)
	}
	d := v.def
	switch name {
	case "kind":
		return string(d.Kind)
	case "name":
		return d.Name
	case "description":
		return optional(d.Description)
	case "specifiedByURL":
		return directiveArg(d.Directives, "specifiedBy", "url")
	case "fields":
		if d.Kind != ast.Object {
			return nil
		}
		list := []any{}
		for _, f := range d.Fields {
			if !strings.HasPrefix(f.Name, "__") && wanted(args, f.Directives) {
				list = append(list, fieldView{v.s, f})
			}
		}
		return list
	case "interfaces":
		if d.Kind == ast.Object {
			return []any{}
		}
	case "enumValues":
		if d.Kind != ast.Enum {
			return nil
		}
		list := []any{}
		for _, e := range d.EnumValues {
			if wanted(args, e.Directives) {
				list = append(list, enumValueView{e})
			}
		}
		return list
	case "inputFields":
		if d.Kind != ast.InputObject {
			return nil
		}
		list := []any{}
		for _, f := range d.Fields {
			if wanted(args, f.Directives) {
				list = append(list, inputView{v.s, f.Name, f.Description, f.Type, f.DefaultValue, f.Directives})
			}
		}
		return list
	case "isOneOf":
		if d.Kind == ast.InputObject {
			return d.Directives.ForName("oneOf") != nil
		}
	}
	return nil
}

func (v typeView) wrapping(name string) any {
	switch {
	case name == "kind" && v.typ.NonNull:
		return "NON_NULL"
	case name == "kind":
		return "LIST"
	case name == "ofType" && v.typ.NonNull:
		inner := *v.typ
		inner.NonNull = false
		return typeOf(v.s, &inner)
	case name == "ofType":
		return typeOf(v.s, v.typ.Elem)
	}
	return nil
}

type fieldView struct {
	s *ast.Schema
	f *ast.FieldDefinition
}

func (v fieldView) readField(name string, args map[string]any) any {
	switch name {
	case "name":
		return v.f.Name
	case "description":
		return optional(v.f.Description)
	case "args":
		return inputs(v.s, v.f.Arguments, args)
	case "type":
		return typeOf(v.s, v.f.Type)
	}
	return deprecation(name, v.f.Directives)
}

func inputs(s *ast.Schema, defs ast.ArgumentDefinitionList, args map[string]any) any {
	list := []any{}
	for _, a := range defs {
		if wanted(args, a.Directives) {
			list = append(list, inputView{s, a.Name, a.Description, a.Type, a.DefaultValue, a.Directives})
		}
	}
	return list
}

// inputView is an argument or a field of an input object.
type inputView struct {
	s          *ast.Schema
	name, text string
	typ        *ast.Type
	usual      *ast.Value
	directives ast.DirectiveList
}

func (v inputView) readField(name string, _ map[string]any) any {
	switch name {
	case "name":
		return v.name
	case "description":
		return optional(v.text)
	case "type":
		return typeOf(v.s, v.typ)
	case "defaultValue":
		if v.usual != nil {
			return v.usual.String()
		}
		return nil
	}
	return deprecation(name, v.directives)
}

type enumValueView struct{ e *ast.EnumValueDefinition }

func (v enumValueView) readField(name string, _ map[string]any) any {
	switch name {
	case "name":
		return v.e.Name
	case "description":
		return optional(v.e.Description)
	}
	return deprecation(name, v.e.Directives)
}

type directiveView struct {
	s *ast.Schema
	d *ast.DirectiveDefinition
}

func (v directiveView) readField(name string, args map[string]any) any {
	switch name {
	case "name":
		return v.d.Name
	case "description":
		return optional(v.d.Description)
	case "isRepeatable":
		return v.d.IsRepeatable
	case "locations":
		list := make([]string, len(v.d.Locations))
		for i, l := range v.d.Locations {
			list[i] = string(l)
		}
		return list
	case "args":
		return inputs(v.s, v.d.Arguments, args)
	}
	return nil
}

func optional(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func wanted(args map[string]any, directives ast.DirectiveList) bool {
	return args["includeDeprecated"] == true || directives.ForName("deprecated") == nil
}

func deprecation(name string, directives ast.DirectiveList) any {
	switch name {
	case "isDeprecated":
		return directives.ForName("deprecated") != nil
	case "deprecationReason":
		return directiveArg(directives, "deprecated", "reason")
	}
	return nil
}

func directiveArg(directives ast.DirectiveList, directive, arg string) any {
	d := directives.ForName(directive)
	if d == nil {
		return nil
	}
	if a := d.Arguments.ForName(arg); a != nil {
		return a.Value.Raw
	}
	i := slices.IndexFunc(d.Definition.Arguments, func(a *ast.ArgumentDefinition) bool { return a.Name == arg })
	if i >= 0 && d.Definition.Arguments[i].DefaultValue != nil {
		return d.Definition.Arguments[i].DefaultValue.Raw
	}
	return nil
}
