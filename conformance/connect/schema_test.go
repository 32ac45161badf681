package connect_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"connectrpc.com/connect/v2"
	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

const schemaPackage = "connectrpc.conformance.v1."

// schema is the suite's service and messages. The suite keeps its generated
// code to itself, so its .proto files are read where its module lies.
type schema struct {
	methods  map[string]protoreflect.MethodDescriptor // of ConformanceService
	messages map[string]protoreflect.MessageDescriptor
}

func loadSchema(dir string) (*schema, error) {
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{dir}}),
	}
	files, err := compiler.Compile(context.Background(),
		"connectrpc/conformance/v1/client_compat.proto", "connectrpc/conformance/v1/config.proto",
		"connectrpc/conformance/v1/server_compat.proto", "connectrpc/conformance/v1/service.proto")
	if err != nil {
		return nil, err
	}
	s := &schema{methods: map[string]protoreflect.MethodDescriptor{}, messages: map[string]protoreflect.MessageDescriptor{}}
	for _, f := range files {
		if err := s.addMessages(f.Messages()); err != nil {
			return nil, err
		}
		for i := range f.Services().Len() {
			methods := f.Services().Get(i).Methods()
			for j := range methods.Len() {
				s.methods[string(methods.Get(j).Name())] = methods.Get(j)
			}
		}
	}
	return s, nil
}

// addMessages makes messages known to whoever resolves an Any.
func (s *schema) addMessages(list protoreflect.MessageDescriptors) error {
	for i := range list.Len() {
		m := list.Get(i)
		if m.IsMapEntry() {
			continue
		}
		s.messages[strings.TrimPrefix(string(m.FullName()), schemaPackage)] = m
		if err := protoregistry.GlobalTypes.RegisterMessage(dynamicpb.NewMessageType(m)); err != nil {
			return err
		}
		if err := s.addMessages(m.Messages()); err != nil {
			return err
		}
	}
	return nil
}

func (s *schema) message(name string) proto.Message { return dynamicpb.NewMessage(s.messages[name]) }

// specOf returns what generated code would say of m.
func specOf(m protoreflect.MethodDescriptor) connect.Spec {
	level := connect.IdempotencyUnknown
	if o, ok := m.Options().(*descriptorpb.MethodOptions); ok {
		level = connect.IdempotencyLevel(o.GetIdempotencyLevel())
	}
	kind := connect.StreamTypeUnary
	switch {
	case m.IsStreamingClient() && m.IsStreamingServer():
		kind = connect.StreamTypeBidi
	case m.IsStreamingClient():
		kind = connect.StreamTypeClient
	case m.IsStreamingServer():
		kind = connect.StreamTypeServer
	}
	return connect.Spec{
		StreamType: kind, IdempotencyLevel: level, Schema: m,
		Procedure: fmt.Sprintf("/%s/%s", m.Parent().FullName(), m.Name()),
	}
}

func inputOf(spec connect.Spec) proto.Message {
	return dynamicpb.NewMessage(spec.Schema.(protoreflect.MethodDescriptor).Input())
}

func outputOf(spec connect.Spec) proto.Message {
	return dynamicpb.NewMessage(spec.Schema.(protoreflect.MethodDescriptor).Output())
}

// read sets v to what m says, by way of JSON: the programs under test work on
// plain structs.
func read(m proto.Message, v any) error {
	data, err := protojson.Marshal(m)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, v)
}

// write sets m to what v says.
func write(v any, m proto.Message) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return protojson.Unmarshal(data, m)
}

// anyOf returns the JSON of an Any of v, a message of the suite's type name.
func anyOf(name string, v any) (json.RawMessage, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	head := `{"@type":"type.googleapis.com/` + schemaPackage + name + `"`
	if rest := string(data[1:]); rest != "}" {
		return json.RawMessage(head + "," + rest), nil
	}
	return json.RawMessage(head + "}"), nil
}
