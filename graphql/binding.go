package graphql

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// binding is an object type served from one kind of message: per field, how
// to read it. One GraphQL type may be bound to messages of several services.
type binding struct {
	typ     *objectType
	message protoreflect.FullName
	read    []*accessor // by field index; nil where the field joins
	keys    []*keyReader
}

// accessor reads a field below its parent's message.
type accessor struct {
	path      []protoreflect.FieldDescriptor // empty: the message itself
	leaf      leaf                           // writes the value, or each element, when it is no message
	emptyNull bool                           // an empty string without presence means null
	err       error                          // the message has no such value
}

// get walks to the value. ok is false for null.
func (a *accessor) get(m protoreflect.Message) (v protoreflect.Value, ok bool) {
	if len(a.path) == 0 {
		return protoreflect.ValueOfMessage(m), true
	}
	for i, fd := range a.path {
		if i == len(a.path)-1 {
			return a.last(m, fd)
		}
		if !m.Has(fd) {
			return v, false
		}
		m = m.Get(fd).Message()
	}
	return v, false
}

func (a *accessor) last(m protoreflect.Message, fd protoreflect.FieldDescriptor) (v protoreflect.Value, ok bool) {
	if fd.HasPresence() && !m.Has(fd) {
		return v, false
	}
	v = m.Get(fd)
	return v, !(a.emptyNull && v.String() == "")
}

// keyReader reads what a join's request needs from the parent's message.
type keyReader struct {
	inputs []*accessor // parallel to rpcDef.inputs; nil where the input does not read the parent
	err    error
}

type bindingKey struct {
	typ     *objectType
	message protoreflect.FullName
}

// bind returns the binding of typ to md, building it and those below it on
// first use. Fields that md cannot serve are errors in the binding, which bindAll reports at load.
func (s *Schema) bind(typ *objectType, md protoreflect.MessageDescriptor) *binding {
	key := bindingKey{typ, md.FullName()}
	if b, ok := s.bindings.Load(key); ok {
		return b.(*binding)
	}
	b := &binding{typ: typ, message: md.FullName(), read: make([]*accessor, len(typ.fields)), keys: make([]*keyReader, len(typ.fields))}
	for i, f := range typ.fields {
		if f.rpc != nil {
			b.keys[i] = f.rpc.readers(typ, md)
		}
		if !f.joins() {
			b.read[i] = newAccessor(f.out, md, f.path)
		}
	}
	stored, _ := s.bindings.LoadOrStore(key, b)
	return stored.(*binding)
}

// bindAll checks that typ can be served from md, and everything below it.
func (s *Schema) bindAll(typ *objectType, md protoreflect.MessageDescriptor, seen map[bindingKey]bool) error {
	key := bindingKey{typ, md.FullName()}
	if seen[key] {
		return nil
	}
	seen[key] = true
	b := s.bind(typ, md)
	var errs []error
	for i, f := range typ.fields {
		if a := b.read[i]; a != nil {
			if a.err != nil {
				errs = append(errs, f.errorf("%v", a.err))
			} else if t := f.out.named(); t.object != nil {
				errs = append(errs, s.bindAll(t.object, a.message(md), seen))
			}
		}
		if k := b.keys[i]; k != nil && k.err != nil {
			errs = append(errs, f.errorf("%v", k.err))
		}
	}
	return errors.Join(errs...)
}

// message is the type of the messages that the accessor reads.
func (a *accessor) message(parent protoreflect.MessageDescriptor) protoreflect.MessageDescriptor {
	if len(a.path) == 0 {
		return parent
	}
	return a.path[len(a.path)-1].Message()
}

// newAccessor checks the GraphQL type out against the field that names lead to.
func newAccessor(out *outType, md protoreflect.MessageDescriptor, names []string) *accessor {
	path, err := fieldPath(md, names)
	if err != nil {
		return &accessor{err: err}
	}
	a := &accessor{path: path}
	if len(path) == 0 {
		if out.object == nil {
			a.err = fmt.Errorf("is no object type, but is mapped to the message %s", md.FullName())
		}
		return a
	}
	fd := path[len(path)-1]
	t := out.named()
	switch {
	case out.lists() > 1 || fd.IsList() != (out.elem != nil):
		a.err = fmt.Errorf("cannot be read from %s %s", kindName(fd), fd.FullName())
	case t.object != nil:
		if fd.Message() == nil {
			a.err = fmt.Errorf("is an object, but %s is a %s", fd.FullName(), fd.Kind())
		}
	default:
		a.leaf, a.err = leafOf(t, fd)
		a.emptyNull = !out.nonNull && out.elem == nil && fd.Kind() == protoreflect.StringKind && !fd.HasPresence()
	}
	return a
}

// readers prepares the reading of $parent and $batch inputs.
func (r *rpcDef) readers(typ *objectType, md protoreflect.MessageDescriptor) *keyReader {
	k := &keyReader{}
	if !r.parents {
		return k
	}
	k.inputs = make([]*accessor, len(r.inputs))
	for i, in := range r.inputs {
		if in.from != fromParent && in.from != fromBatch {
			continue
		}
		path, err := fieldPath(md, parentPath(typ, in.path))
		if err != nil {
			k.err = fmt.Errorf("@rpc in: %w", err)
			return k
		}
		if err := sameType(in, path); err != nil {
			k.err = err
			return k
		}
		k.inputs[i] = &accessor{path: path}
	}
	return k
}

func sameType(in *input, path []protoreflect.FieldDescriptor) error {
	if len(path) == 0 {
		return fmt.Errorf("@rpc in: %s needs a field of the parent", in.fd().Name())
	}
	have, want := path[len(path)-1], in.fd()
	if have.Kind() != want.Kind() || have.IsList() != (want.IsList() && in.from == fromParent) || have.Message() != want.Message() || have.Enum() != want.Enum() {
		return fmt.Errorf("@rpc in: %s is a %s, not a %s like %s", have.FullName(), kindName(have), want.Kind(), want.FullName())
	}
	return nil
}

// parentPath lets $parent.x and $batch.x name a field of the SDL that reads from elsewhere by @source.
func parentPath(typ *objectType, path []string) []string {
	f := typ.byName[path[0]]
	if f == nil {
		return path
	}
	if d := f.ast.Directives.ForName("source"); d != nil {
		return append(append([]string{}, sourcePath(d.Arguments.ForName("field").Value.Raw)...), path[1:]...)
	}
	return path
}
