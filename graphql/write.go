package graphql

import (
	"fmt"

	"github.com/cleave-go/cleave/compose"
)

// writeObject appends the object, or nothing and false when a field that must
// not be null is: then null propagates to the parent.
func (e *exec) writeObject(b []byte, sel *selection, inst *instance) ([]byte, bool) {
	return e.writeFields(b, sel, inst.obj, inst)
}

func (e *exec) writeFields(b []byte, sel *selection, obj object, inst *instance) ([]byte, bool) {
	start := len(b)
	b = append(b, '{')
	comma := false
	for _, f := range sel.fields {
		if f.hidden || !e.on[f.id] {
			continue
		}
		if comma {
			b = append(b, ',')
		}
		comma = true
		b = append(b, f.enc...)
		if f.def == nil {
			b = appendString(b, sel.typ.name)
			continue
		}
		e.path = append(e.path, f.step)
		var ok bool
		b, ok = e.writeField(b, sel, obj, inst, f)
		e.path = e.path[:len(e.path)-1]
		if !ok {
			return b[:start], false
		}
	}
	return append(b, '}'), true
}

func (e *exec) writeField(b []byte, sel *selection, obj object, inst *instance, f *field) ([]byte, bool) {
	out := f.def.out
	if f.slot >= 0 {
		s := &inst.slots[f.slot]
		if s.err != nil {
			return writeNull(b, out)
		}
		kids := s.kids
		return e.writeValue(b, out, &s.val, f, &kids)
	}
	if denied := e.denied[f.id]; denied != nil {
		e.report(denied, e.here(), f)
		return writeNull(b, out)
	}
	v, err := e.read(sel, obj, f)
	if err != nil {
		e.broken(err, f)
		return writeNull(b, out)
	}
	return e.writeValue(b, out, &v, f, nil)
}

func writeNull(b []byte, out *outType) ([]byte, bool) {
	if out.nonNull {
		return b, false
	}
	return append(b, "null"...), true
}

// writeValue appends v of type out. kids are the instances of the objects in v, if they are tracked.
func (e *exec) writeValue(b []byte, out *outType, v *value, f *field, kids *[]*instance) ([]byte, bool) {
	if v.kind == isNull {
		skipKid(kids)
		if out.nonNull {
			e.broken(fmt.Errorf("%s must not be null", f.def), f)
		}
		return writeNull(b, out)
	}
	if out.elem != nil {
		return e.writeList(b, out, v, f, kids)
	}
	if out.object != nil {
		return e.writeNested(b, out, v, f, kids)
	}
	start := len(b)
	b, err := appendLeaf(b, out, v)
	if err != nil {
		e.broken(err, f)
		return writeNull(b[:start], out)
	}
	if out.nonNull && string(b[start:]) == "null" {
		e.broken(fmt.Errorf("%s must not be null", f.def), f)
		return b[:start], false
	}
	return b, true
}

func appendLeaf(b []byte, out *outType, v *value) ([]byte, error) {
	switch {
	case v.kind == isProto && v.leaf != nil:
		return v.leaf(b, v.proto)
	case v.kind == isGo:
		return appendGo(b, out, v.goValue)
	}
	return b, errNotLeaf
}

// skipKid keeps the instances in step with the values: spread made a nil for each null.
func skipKid(kids *[]*instance) {
	if kids != nil && len(*kids) > 0 {
		*kids = (*kids)[1:]
	}
}

func (e *exec) writeNested(b []byte, out *outType, v *value, f *field, kids *[]*instance) ([]byte, bool) {
	obj, inst, ok := object{}, (*instance)(nil), false
	if kids != nil && len(*kids) > 0 {
		inst, *kids = (*kids)[0], (*kids)[1:]
	}
	if inst != nil {
		obj, ok = inst.obj, true
	} else {
		obj, ok = v.object()
	}
	if !ok {
		e.broken(fmt.Errorf("%s is no object", f.def), f)
		return writeNull(b, out)
	}
	start := len(b)
	if b, ok = e.writeFields(b, f.sub, obj, inst); !ok {
		return writeNull(b[:start], out) // null stops here, or goes on up
	}
	return b, true
}

func (e *exec) writeList(b []byte, out *outType, v *value, f *field, kids *[]*instance) ([]byte, bool) {
	n, ok := v.length()
	if !ok && v.kind != isNull {
		e.broken(fmt.Errorf("%s is no list", f.def), f)
		return writeNull(b, out)
	}
	start := len(b)
	b = append(b, '[')
	e.path = append(e.path, nil)
	defer func() { e.path = e.path[:len(e.path)-1] }()
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		e.path[len(e.path)-1] = i
		item := v.item(i)
		if b, ok = e.writeValue(b, out.elem, &item, f, kids); !ok {
			return writeNull(b[:start], out)
		}
	}
	return append(b, ']'), true
}

// here is the path of the field being written.
func (e *exec) here() []any {
	return append([]any(nil), e.path...)
}

// broken reports a value that its service should not have answered.
func (e *exec) broken(err error, f *field) {
	own := &Error{Code: Internal, Message: "internal error", Cause: err}
	e.log(own, &compose.Failure{Part: f.def.String(), Err: err})
	e.report(own, e.here(), f)
}
