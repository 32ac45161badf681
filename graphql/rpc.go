package graphql

import (
	"fmt"
	"strings"

	"connectrpc.com/connect/v2"
	"github.com/vektah/gqlparser/v2/ast"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// maxKeys is how many keys one batch call carries unless @rpc(max:) says otherwise.
const maxKeys = 200

// rpcDef is a field's @rpc, checked against the method's descriptor.
type rpcDef struct {
	field   *fieldDef
	service string
	client  *connect.Client
	spec    connect.Spec
	in      protoreflect.MessageType
	out     protoreflect.MessageType
	pure    bool // without side effects: equal calls are made once
	inputs  []*input
	batch   *input // the input that takes every parent's key; nil: one call answers one parent
	parents bool   // inputs read the parent
	items   []protoreflect.FieldDescriptor
	key     []protoreflect.FieldDescriptor
	max     int
	bounded bool   // max was given
	group   string // equal for calls that can be made as one
	result  *accessor
}

// from says what an input of a request is filled with.
type from int

const (
	fromArgs from = iota
	fromParent
	fromBatch
	fromConstant
)

// input fills one field of a request.
type input struct {
	target []protoreflect.FieldDescriptor
	from   from
	path   []string
	value  any // a constant
}

func (in *input) fd() protoreflect.FieldDescriptor { return in.target[len(in.target)-1] }

func (s *Schema) compileRPC(full *ast.Schema, f *fieldDef, d *ast.Directive) error {
	arg := func(name string) string {
		if a := d.Arguments.ForName(name); a != nil {
			return a.Value.Raw
		}
		return ""
	}
	r := &rpcDef{field: f, service: arg("service"), max: maxKeys}
	method, err := findMethod(arg("method"))
	if err != nil {
		return f.errorf("%v", err)
	}
	if s.options.Client == nil {
		return f.errorf("has @rpc, but Options.Client is nil")
	}
	r.client = s.options.Client(r.service)
	r.describe(method)
	if a := d.Arguments.ForName("max"); a != nil {
		n, _ := a.Value.Value(nil)
		limit, ok := n.(int64)
		if !ok || limit < 1 || limit > 10_000 {
			return f.errorf("@rpc max must be 1 to 10000")
		}
		r.max, r.bounded = int(limit), true
	}
	if err := r.compileInputs(full, d); err != nil {
		return f.errorf("%v", err)
	}
	if err := r.compileResult(arg("items"), arg("key")); err != nil {
		return f.errorf("%v", err)
	}
	f.rpc = r
	return nil
}

func findMethod(name string) (protoreflect.MethodDescriptor, error) {
	service, method, ok := strings.Cut(name, "/")
	if !ok {
		return nil, fmt.Errorf("@rpc method %q is not of the form package.Service/Method", name)
	}
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, fmt.Errorf("@rpc names the service %s, whose generated package is not linked in", service)
	}
	sd, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, fmt.Errorf("@rpc: %s is not a service", service)
	}
	md := sd.Methods().ByName(protoreflect.Name(method))
	if md == nil {
		return nil, fmt.Errorf("@rpc: %s has no method %s", service, method)
	}
	if md.IsStreamingClient() || md.IsStreamingServer() {
		return nil, fmt.Errorf("@rpc: %s is a streaming method", name)
	}
	return md, nil
}

func (r *rpcDef) describe(md protoreflect.MethodDescriptor) {
	r.spec = connect.Spec{
		StreamType:       connect.StreamTypeUnary,
		Schema:           md,
		Procedure:        fmt.Sprintf("/%s/%s", md.Parent().FullName(), md.Name()),
		IdempotencyLevel: idempotency(md),
	}
	r.pure = r.spec.IdempotencyLevel == connect.IdempotencyNoSideEffects
	r.in, r.out = messageType(md.Input()), messageType(md.Output())
}

func idempotency(md protoreflect.MethodDescriptor) connect.IdempotencyLevel {
	options, _ := md.Options().(*descriptorpb.MethodOptions)
	switch options.GetIdempotencyLevel() {
	case descriptorpb.MethodOptions_NO_SIDE_EFFECTS:
		return connect.IdempotencyNoSideEffects
	case descriptorpb.MethodOptions_IDEMPOTENT:
		return connect.IdempotencyIdempotent
	}
	return connect.IdempotencyUnknown
}

func messageType(md protoreflect.MessageDescriptor) protoreflect.MessageType {
	if mt, err := protoregistry.GlobalTypes.FindMessageByName(md.FullName()); err == nil {
		return mt
	}
	return dynamicpb.NewMessageType(md)
}

// compileResult finds what the response answers: itself, the value at items,
// or with key the elements of items, each for the parent whose key it carries.
func (r *rpcDef) compileResult(items, key string) error {
	out, f := r.out.Descriptor(), r.field
	var err error
	if items != "" {
		if r.items, err = fieldPath(out, strings.Split(items, ".")); err != nil {
			return fmt.Errorf("@rpc items: %w", err)
		}
	}
	if r.batch == nil {
		if key != "" {
			return fmt.Errorf("@rpc has a key, but no request field takes a $batch")
		}
		return nil
	}
	if !r.pure {
		return fmt.Errorf("@rpc: %s changes something, so it cannot be a batch join; its idempotency_level must be NO_SIDE_EFFECTS", r.spec.Procedure)
	}
	if items == "" || key == "" {
		return fmt.Errorf("@rpc with $batch needs items and key")
	}
	list := r.items[len(r.items)-1]
	if !list.IsList() || list.Message() == nil {
		return fmt.Errorf("@rpc items: %s is not a list of messages", list.FullName())
	}
	if f.out.lists() > 1 || f.out.named().object == nil {
		return fmt.Errorf("@rpc with $batch answers an object or a list of objects")
	}
	if r.key, err = fieldPath(list.Message(), strings.Split(key, ".")); err != nil {
		return fmt.Errorf("@rpc key: %w", err)
	}
	last := r.key[len(r.key)-1]
	if last.IsList() || !sameKey(last, r.batch.fd()) {
		return fmt.Errorf("@rpc key: %s cannot be compared with %s", last.FullName(), r.batch.fd().FullName())
	}
	r.group = fmt.Sprint(r.spec.Procedure, " ", r.service, r.items, r.key, r.batch.target)
	return nil
}

func sameKey(a, b protoreflect.FieldDescriptor) bool {
	return (a.Kind() == protoreflect.StringKind) == (b.Kind() == protoreflect.StringKind) &&
		a.Message() == nil && b.Message() == nil
}

// fieldPath resolves names, in the SDL's spelling or the proto's, below md.
// Every step but the last is a single message.
func fieldPath(md protoreflect.MessageDescriptor, names []string) ([]protoreflect.FieldDescriptor, error) {
	path := make([]protoreflect.FieldDescriptor, 0, len(names))
	for i, name := range names {
		fd := fieldNamed(md, name)
		switch {
		case fd == nil:
			return nil, fmt.Errorf("%s has no field %s", md.FullName(), name)
		case fd.IsMap():
			return nil, fmt.Errorf("%s is a map, which GraphQL cannot express", fd.FullName())
		case i < len(names)-1 && (fd.IsList() || fd.Message() == nil):
			return nil, fmt.Errorf("%s is not a single message", fd.FullName())
		}
		path = append(path, fd)
		md = fd.Message()
	}
	return path, nil
}

func fieldNamed(md protoreflect.MessageDescriptor, name string) protoreflect.FieldDescriptor {
	if fd := md.Fields().ByJSONName(name); fd != nil {
		return fd
	}
	return md.Fields().ByName(protoreflect.Name(name))
}
