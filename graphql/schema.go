package graphql

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
)

// objectType is an object type compiled for execution.
type objectType struct {
	name   string
	fields []*fieldDef
	byName map[string]*fieldDef
}

// fieldDef is one field of an object type and where its value comes from: an
// RPC, a Go resolver, introspection, or else the parent's value.
type fieldDef struct {
	index      int
	name       string
	owner      *objectType
	ast        *ast.FieldDefinition
	out        *outType
	path       []string // below the parent's value; empty: the parent itself
	rpc        *rpcDef
	resolver   *Resolver
	requires   []*fieldDef
	introspect func(args map[string]any) any
	optional   *optionalRule
	auth       authRule
	cost       int
}

// joins says whether the value is fetched, not read from the parent.
func (f *fieldDef) joins() bool { return f.rpc != nil || f.resolver != nil }

func (f *fieldDef) String() string { return f.owner.name + "." + f.name }

// errorf is a load-time error at the field's place in the SDL.
func (f *fieldDef) errorf(format string, args ...any) error {
	line := 0
	if f.ast.Position != nil {
		line = f.ast.Position.Line
	}
	return fmt.Errorf("schema:%d: %s: %s", line, f, fmt.Sprintf(format, args...))
}

// outType is a field's type compiled for writing.
type outType struct {
	nonNull bool
	elem    *outType // of a list
	object  *objectType
	enum    map[string]bool
	scalar  string
}

// named returns the type below all lists.
func (t *outType) named() *outType {
	for t.elem != nil {
		t = t.elem
	}
	return t
}

func (t *outType) lists() int {
	n := 0
	for ; t.elem != nil; t = t.elem {
		n++
	}
	return n
}

// compile builds the object types of the full schema, in two passes because types refer to each other.
func (s *Schema) compile(full *ast.Schema) error {
	s.types = map[string]*objectType{}
	var defs []*ast.Definition
	for _, def := range full.Types {
		switch def.Kind {
		case ast.Object:
			s.types[def.Name] = &objectType{name: def.Name, byName: map[string]*fieldDef{}}
			defs = append(defs, def)
		case ast.Interface, ast.Union:
			return fmt.Errorf("schema:%d: %s: interfaces and unions are not supported", def.Position.Line, def.Name)
		}
	}
	slices.SortFunc(defs, func(a, b *ast.Definition) int { return strings.Compare(a.Name, b.Name) })
	for _, def := range defs {
		if err := s.compileType(full, def); err != nil {
			return err
		}
	}
	if err := s.attachResolvers(); err != nil {
		return err
	}
	for _, def := range defs {
		for _, f := range s.types[def.Name].fields {
			if err := s.compileSource(full, f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Schema) compileType(full *ast.Schema, def *ast.Definition) error {
	t := s.types[def.Name]
	for _, fd := range def.Fields {
		f := &fieldDef{index: len(t.fields), name: fd.Name, owner: t, ast: fd, out: s.outType(full, fd.Type)}
		var err error
		if f.auth, err = authOf(fd); err != nil {
			return f.errorf("%v", err)
		}
		if f.optional, err = optionalOf(fd); err != nil {
			return f.errorf("%v", err)
		}
		if f.cost, err = costOf(fd, usualCost(full, def, f)); err != nil {
			return f.errorf("%v", err)
		}
		t.fields = append(t.fields, f)
		t.byName[f.name] = f
	}
	return nil
}

// usualCost follows the IBM cost specification: a mutation 10, an object 1, a scalar nothing.
func usualCost(full *ast.Schema, def *ast.Definition, f *fieldDef) int {
	switch {
	case def == full.Mutation:
		return 10
	case f.out.named().object != nil:
		return 1
	}
	return 0
}

func (s *Schema) outType(full *ast.Schema, t *ast.Type) *outType {
	out := &outType{nonNull: t.NonNull}
	if t.Elem != nil {
		out.elem = s.outType(full, t.Elem)
		return out
	}
	def := full.Types[t.NamedType]
	switch def.Kind {
	case ast.Object:
		out.object = s.types[def.Name]
	case ast.Enum:
		out.enum = make(map[string]bool, len(def.EnumValues))
		for _, v := range def.EnumValues {
			out.enum[v.Name] = true
		}
	default:
		out.scalar = def.Name
	}
	return out
}

func (s *Schema) attachResolvers() error {
	for _, name := range sortedKeys(s.options.Resolvers) {
		r := s.options.Resolvers[name]
		typ, field, _ := strings.Cut(name, ".")
		t := s.types[typ]
		if t == nil || t.byName[field] == nil {
			return fmt.Errorf("the resolver %q belongs to no field of the schema", name)
		}
		f := t.byName[field]
		if r.Resolve == nil {
			return f.errorf("its resolver has no function")
		}
		f.resolver = &r
	}
	return nil
}

// compileSource decides where the value of f comes from.
func (s *Schema) compileSource(full *ast.Schema, f *fieldDef) error {
	rpc := f.ast.Directives.ForName("rpc")
	source := f.ast.Directives.ForName("source")
	if n := count(rpc != nil, source != nil, f.resolver != nil); n > 1 {
		return f.errorf("takes its value from %d places; @rpc, @source and a Go resolver exclude each other", n)
	}
	switch {
	case rpc != nil:
		return s.compileRPC(full, f, rpc)
	case f.resolver != nil:
		return compileRequires(f)
	case strings.HasPrefix(f.name, "__") || strings.HasPrefix(f.owner.name, "__"):
		f.path = []string{f.name}
		return nil
	case full.Subscription != nil && f.owner.name == full.Subscription.Name:
		return nil // refused before execution
	case f.owner.name == full.Query.Name || full.Mutation != nil && f.owner.name == full.Mutation.Name:
		return f.errorf("has neither @rpc nor a Go resolver")
	case len(f.ast.Arguments) > 0:
		return f.errorf("has arguments, which only @rpc or a Go resolver can use")
	case f.optional != nil:
		return f.errorf("is @optional, which only a field with @rpc or a Go resolver can be")
	}
	f.path = []string{f.name}
	if source != nil {
		f.path = sourcePath(source.Arguments.ForName("field").Value.Raw)
	}
	return nil
}

// sourcePath splits "a.b"; "." is the parent itself.
func sourcePath(text string) []string {
	if text == "." {
		return nil
	}
	return strings.Split(text, ".")
}

func compileRequires(f *fieldDef) error {
	for _, name := range f.resolver.Requires {
		need := f.owner.byName[name]
		switch {
		case need == nil:
			return f.errorf("its resolver requires %q, which %s does not have", name, f.owner.name)
		case need.resolver != nil && len(need.resolver.Requires) > 0:
			return f.errorf("its resolver requires %q, whose resolver requires fields itself", name)
		case len(need.ast.Arguments) > 0:
			return f.errorf("its resolver requires %q, which has arguments", name)
		}
		f.requires = append(f.requires, need)
	}
	return nil
}

func count(conditions ...bool) int {
	n := 0
	for _, c := range conditions {
		if c {
			n++
		}
	}
	return n
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
