package graphql

import (
	"fmt"
	"time"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
	"github.com/vektah/gqlparser/v2/validator"
)

// directivesSDL declares the mapping directives; doc.go explains them.
const directivesSDL = `
scalar CleaveMapping
directive @rpc(service: String!, method: String!, in: CleaveMapping, items: String, key: String, max: Int) on FIELD_DEFINITION
directive @source(field: String!) on FIELD_DEFINITION
directive @internal on FIELD_DEFINITION
directive @optional(timeout: String, fallback: CleaveMapping) on FIELD_DEFINITION
directive @auth(roles: [String!], public: Boolean) on FIELD_DEFINITION
directive @cost(weight: Int!) on FIELD_DEFINITION
`

var mappingDirectives = map[string]bool{
	"rpc": true, "source": true, "internal": true, "optional": true, "auth": true, "cost": true,
}

// parseSchemas answers the graph as its owner wrote it, and as its clients see
// it: without mapping directives, internal fields and types only those reach.
func parseSchemas(sdl string) (full, public *ast.Schema, err error) {
	if full, err = parseFull(sdl); err != nil {
		return nil, nil, err
	}
	doc, err := parser.ParseSchemas(validator.Prelude, &ast.Source{Name: "schema", Input: sdl})
	if err != nil {
		return nil, nil, err
	}
	for _, def := range append(append(ast.DefinitionList{}, doc.Definitions...), doc.Extensions...) {
		def.Fields = publicFields(def.Fields)
	}
	if public, err = validator.ValidateSchemaDocument(doc); err != nil {
		return nil, nil, fmt.Errorf("without its @internal fields: %w", err)
	}
	dropUnreachable(public)
	delete(public.Directives, "defer") // declared by the parser, not served here
	return full, public, nil
}

func parseFull(sdl string) (*ast.Schema, error) {
	full, err := validator.LoadSchema(validator.Prelude,
		&ast.Source{Name: "directives", Input: directivesSDL}, &ast.Source{Name: "schema", Input: sdl})
	if err != nil {
		return nil, err
	}
	if full.Query == nil {
		return nil, fmt.Errorf("the schema has no type Query")
	}
	return full, nil
}

func publicFields(fields ast.FieldList) ast.FieldList {
	var out ast.FieldList
	for _, f := range fields {
		if f.Directives.ForName("internal") != nil {
			continue
		}
		var kept ast.DirectiveList
		for _, d := range f.Directives {
			if !mappingDirectives[d.Name] {
				kept = append(kept, d)
			}
		}
		f.Directives = kept
		out = append(out, f)
	}
	return out
}

// dropUnreachable removes types that no public field leads to.
func dropUnreachable(s *ast.Schema) {
	seen := map[string]bool{}
	var walk func(name string)
	walk = func(name string) {
		def := s.Types[name]
		if def == nil || seen[name] {
			return
		}
		seen[name] = true
		for _, f := range def.Fields {
			walk(f.Type.Name())
			for _, a := range f.Arguments {
				walk(a.Type.Name())
			}
		}
	}
	for _, root := range []*ast.Definition{s.Query, s.Mutation, s.Subscription} {
		if root != nil {
			walk(root.Name)
		}
	}
	for name, def := range s.Types {
		if !seen[name] && !def.BuiltIn {
			delete(s.Types, name)
		}
	}
}

// authRule says who may ask for a field.
type authRule struct {
	set    bool
	public bool
	roles  []string
}

func authOf(f *ast.FieldDefinition) (authRule, error) {
	d := f.Directives.ForName("auth")
	if d == nil {
		return authRule{}, nil
	}
	args := d.ArgumentMap(nil)
	rule := authRule{set: true, public: args["public"] == true}
	list, isList := args["roles"].([]any)
	if one, ok := args["roles"].(string); ok {
		list, isList = []any{one}, true
	}
	for _, r := range list {
		role, ok := r.(string)
		if !ok {
			return rule, fmt.Errorf("@auth roles must be strings")
		}
		rule.roles = append(rule.roles, role)
	}
	if rule.public && isList {
		return rule, fmt.Errorf("@auth is either public or for roles")
	}
	return rule, nil
}

// optionalRule is a field's own slice of the deadline and what stands in for it.
type optionalRule struct {
	timeout     time.Duration
	fallback    any
	hasFallback bool
}

func optionalOf(f *ast.FieldDefinition) (*optionalRule, error) {
	d := f.Directives.ForName("optional")
	if d == nil {
		return nil, nil
	}
	rule := &optionalRule{}
	if a := d.Arguments.ForName("timeout"); a != nil {
		var err error
		if rule.timeout, err = time.ParseDuration(a.Value.Raw); err != nil || rule.timeout <= 0 {
			return nil, fmt.Errorf("@optional timeout %q is not a duration such as \"150ms\"", a.Value.Raw)
		}
	}
	if a := d.Arguments.ForName("fallback"); a != nil {
		var err error
		if rule.fallback, err = a.Value.Value(nil); err != nil {
			return nil, fmt.Errorf("@optional fallback: %w", err)
		}
		rule.hasFallback = rule.fallback != nil
	}
	if f.Type.NonNull && !rule.hasFallback {
		return nil, fmt.Errorf("is @optional but not nullable and without a fallback")
	}
	return rule, nil
}

func costOf(f *ast.FieldDefinition, usual int) (int, error) {
	d := f.Directives.ForName("cost")
	if d == nil {
		return usual, nil
	}
	weight, ok := d.ArgumentMap(nil)["weight"].(int64)
	if !ok || weight < 0 || weight > 1_000_000 {
		return 0, fmt.Errorf("@cost weight must be 0 to 1000000")
	}
	return int(weight), nil
}
