package graphql

import (
	"context"

	"google.golang.org/protobuf/proto"
)

// Resolver is a field's value in Go, resolved for all parents of a level at once.
type Resolver struct {
	// Requires names fields of the same type, usually @internal joins, whose
	// values Resolve reads from its parents. Default: none.
	Requires []string
	// Resolve answers one value per parent, in their order: nil for null, an
	// error for a part that is missing, a proto message, a struct or map with
	// the fields' names, a slice of those, or a scalar. The second result fails
	// all of them.
	Resolve func(ctx context.Context, parents []Parent) ([]any, error)
}

// Parent is one object whose field a Resolver resolves.
type Parent struct {
	inst *instance
	args map[string]any
	e    *exec
	f    *field
}

// Value is the object itself: a proto.Message from an RPC, or what another
// resolver returned; nil on a root.
func (p Parent) Value() any {
	if p.inst.obj.msg != nil {
		return p.inst.obj.msg.Interface()
	}
	return p.inst.obj.goValue
}

// Args are the field's arguments: string, int64, float64, bool, time.Time,
// []any and map[string]any; absent ones are missing.
func (p Parent) Args() map[string]any { return p.args }

// Required returns the value of a field named in Requires: a proto.Message
// for an object, nil for null. The error says why it is missing.
func (p Parent) Required(name string) (any, error) {
	for _, need := range p.f.requires {
		if need.def.name != name {
			continue
		}
		if need.slot < 0 {
			v, err := p.e.plain(p.inst, need)
			return v.toGo(), err
		}
		s := &p.inst.slots[need.slot]
		if s.err != nil {
			return nil, s.err
		}
		return s.val.toGo(), nil
	}
	return nil, Errorf(Internal, "%s does not require %s", p.f.def, name)
}

// toGo returns v as a resolver may use it.
func (v *value) toGo() any {
	switch v.kind {
	case isProto:
		if m, ok := v.object(); ok {
			return m.msg.Interface()
		}
		return v.proto.Interface()
	case isMessages:
		list := make([]proto.Message, len(v.messages))
		for i, m := range v.messages {
			list[i] = m.Interface()
		}
		return list
	case isProtoList:
		n, _ := v.length()
		list := make([]any, n)
		for i := range n {
			item := v.item(i)
			list[i] = item.toGo()
		}
		return list
	case isGo:
		return v.goValue
	}
	return nil
}
