package graphql

import (
	"fmt"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// compileInputs reads in:, then completes it by name: a request field that in
// does not mention takes the argument of its name, else the field of its name
// of the argument called input. Every argument must arrive somewhere.
func (r *rpcDef) compileInputs(full *ast.Schema, d *ast.Directive) error {
	if a := d.Arguments.ForName("in"); a != nil {
		if a.Value.Kind != ast.ObjectValue {
			return fmt.Errorf("@rpc in must be an object")
		}
		if err := r.mapObject(full, a.Value, r.in.Descriptor(), nil); err != nil {
			return err
		}
	}
	args := r.field.ast.Arguments
	fields := r.in.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if slices.ContainsFunc(r.inputs, func(in *input) bool { return in.target[0] == fd }) {
			continue
		}
		in := &input{target: []protoreflect.FieldDescriptor{fd}}
		if args.ForName(fd.JSONName()) != nil {
			in.path = []string{fd.JSONName()}
		} else if whole := args.ForName("input"); whole != nil && inputField(full, whole.Type, fd.JSONName()) != nil {
			in.path = []string{"input", fd.JSONName()}
		} else {
			continue
		}
		if err := r.addInput(full, in); err != nil {
			return err
		}
	}
	return r.checkAllUsed(full)
}

func inputField(full *ast.Schema, t *ast.Type, name string) *ast.FieldDefinition {
	if def := full.Types[t.NamedType]; def != nil && def.Kind == ast.InputObject {
		return def.Fields.ForName(name)
	}
	return nil
}

func (r *rpcDef) mapObject(full *ast.Schema, v *ast.Value, md protoreflect.MessageDescriptor, above []protoreflect.FieldDescriptor) error {
	for _, c := range v.Children {
		fd := fieldNamed(md, c.Name)
		if fd == nil {
			return fmt.Errorf("@rpc in: %s has no field %s", md.FullName(), c.Name)
		}
		target := append(slices.Clone(above), fd)
		if c.Value.Kind == ast.ObjectValue {
			if fd.Message() == nil || fd.IsList() || fd.IsMap() {
				return fmt.Errorf("@rpc in: %s is not a single message", fd.FullName())
			}
			if err := r.mapObject(full, c.Value, fd.Message(), target); err != nil {
				return err
			}
			continue
		}
		in := &input{target: target, from: fromConstant}
		if text := c.Value.Raw; c.Value.Kind == ast.StringValue && strings.HasPrefix(text, "$") {
			kind, path, _ := strings.Cut(text, ".")
			in.path = strings.Split(path, ".")
			switch kind {
			case "$args":
				in.from = fromArgs
			case "$parent":
				in.from = fromParent
			case "$batch":
				in.from = fromBatch
			default:
				return fmt.Errorf("@rpc in: %q is neither $args.…, $parent.… nor $batch.…", text)
			}
		} else {
			var err error
			if in.value, err = c.Value.Value(nil); err != nil {
				return fmt.Errorf("@rpc in: %s: %w", c.Name, err)
			}
		}
		if err := r.addInput(full, in); err != nil {
			return err
		}
	}
	return nil
}

func (r *rpcDef) addInput(full *ast.Schema, in *input) error {
	fd := in.fd()
	switch in.from {
	case fromArgs:
		t, err := argType(full, r.field.ast.Arguments, in.path)
		if err != nil {
			return err
		}
		if err := checkInput(full, t, fd, checked{}); err != nil {
			return fmt.Errorf("argument %s: %w", strings.Join(in.path, "."), err)
		}
	case fromParent:
		r.parents = true
	case fromBatch:
		if r.batch != nil {
			return fmt.Errorf("@rpc in: only one request field can take a $batch")
		}
		if !fd.IsList() || fd.Message() != nil {
			return fmt.Errorf("@rpc in: %s is not a list of scalars and cannot take a $batch", fd.FullName())
		}
		r.batch, r.parents = in, true
	case fromConstant:
		if err := setInput(r.in.New(), in, in.value); err != nil {
			return fmt.Errorf("@rpc in: %s: %v", fd.Name(), err.Message)
		}
	}
	r.inputs = append(r.inputs, in)
	if r.batch != nil && slices.ContainsFunc(r.inputs, func(in *input) bool { return in.from == fromParent }) {
		return fmt.Errorf("@rpc in: $parent and $batch exclude each other")
	}
	return nil
}

// argType is the type of the argument, or of the field below it, that path names.
func argType(full *ast.Schema, args ast.ArgumentDefinitionList, path []string) (*ast.Type, error) {
	a := args.ForName(path[0])
	if a == nil {
		return nil, fmt.Errorf("@rpc in: there is no argument %s", path[0])
	}
	t := a.Type
	for _, name := range path[1:] {
		f := inputField(full, t, name)
		if f == nil {
			return nil, fmt.Errorf("@rpc in: %s has no field %s", t, name)
		}
		t = f.Type
	}
	return t, nil
}

// checkAllUsed refuses an argument whose value would go nowhere.
func (r *rpcDef) checkAllUsed(full *ast.Schema) error {
	for _, a := range r.field.ast.Arguments {
		if unused := r.unused(full, []string{a.Name}, a.Type); unused != "" {
			return fmt.Errorf("argument %s goes nowhere: no field of %s takes it", unused, r.in.Descriptor().FullName())
		}
	}
	return nil
}

func (r *rpcDef) unused(full *ast.Schema, path []string, t *ast.Type) string {
	below := false
	for _, in := range r.inputs {
		if in.from != fromArgs {
			continue
		}
		if slices.Equal(in.path, path) {
			return ""
		}
		below = below || len(in.path) > len(path) && slices.Equal(in.path[:len(path)], path)
	}
	def := full.Types[t.NamedType]
	if !below || def == nil || def.Kind != ast.InputObject {
		return strings.Join(path, ".")
	}
	for _, f := range def.Fields {
		if unused := r.unused(full, append(slices.Clone(path), f.Name), f.Type); unused != "" {
			return unused
		}
	}
	return ""
}

// argField turns the name a service gives a request's field into the caller's
// name for it: line_items[0].quantity into input.lineItems[0].quantity.
func (r *rpcDef) argField(field string) string {
	end := strings.IndexAny(field, ".[")
	if end < 0 {
		end = len(field)
	}
	first, rest := field[:end], camelPath(field[end:])
	for _, in := range r.inputs {
		if in.from == fromArgs && len(in.target) == 1 && (string(in.target[0].Name()) == first || in.target[0].JSONName() == first) {
			return strings.Join(in.path, ".") + rest
		}
	}
	return camelPath(first) + rest
}

// camelPath spells snake_case names in camelCase and leaves the rest alone.
func camelPath(s string) string {
	var b strings.Builder
	up := false
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '_' && i > 0 && i < len(s)-1:
			up = true
			continue
		case up && 'a' <= c && c <= 'z':
			c -= 'a' - 'A'
		}
		up = false
		b.WriteByte(c)
	}
	return b.String()
}
