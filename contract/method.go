package contract

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/cleave-go/cleave/contract/internal/match"
)

// method is a procedure with what protobuf knows of it.
type method struct {
	procedure string
	schema    protoreflect.MethodDescriptor
}

var errNoMethod = errors.New("no protobuf service with this procedure is known here")

// findMethod finds a procedure in files, or among what is linked in.
func findMethod(procedure string, files *protoregistry.Files) (method, error) {
	m := method{procedure: procedure}
	service, name, ok := strings.Cut(strings.TrimPrefix(procedure, "/"), "/")
	full := protoreflect.FullName(service + "." + name)
	if !ok || !full.IsValid() {
		return m, errNoMethod
	}
	for _, f := range []*protoregistry.Files{protoregistry.GlobalFiles, files} {
		d, err := f.FindDescriptorByName(full)
		if schema, ok := d.(protoreflect.MethodDescriptor); err == nil && ok {
			m.schema = schema
			break
		}
	}
	switch {
	case m.schema == nil:
		return m, errNoMethod
	case m.schema.IsStreamingClient() || m.schema.IsStreamingServer():
		return m, fmt.Errorf("%s is a stream, not a unary call", procedure)
	}
	return m, nil
}

func (m method) name() string { return path.Base(m.procedure) }

func (m method) checkMessages(req, resp proto.Message) error {
	for _, x := range []struct {
		message proto.Message
		want    protoreflect.MessageDescriptor
	}{{req, m.schema.Input()}, {resp, m.schema.Output()}} {
		if x.message == nil {
			continue
		}
		if err := checkExample(x.message); err != nil {
			return err
		}
		if got := x.message.ProtoReflect().Descriptor().FullName(); got != x.want.FullName() {
			return fmt.Errorf("%s has a %s here, not a %s", m.procedure, x.want.FullName(), got)
		}
	}
	return nil
}

// newMessage returns an empty message of a type: the generated one if it is
// linked in.
func newMessage(d protoreflect.MessageDescriptor) proto.Message {
	if t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName()); err == nil {
		return t.New().Interface()
	}
	return dynamicpb.NewMessage(d)
}

// spec returns the method as connect serves it.
func (m method) spec() connect.Spec {
	return connect.Spec{StreamType: connect.StreamTypeUnary, Schema: m.schema, Procedure: m.procedure, IdempotencyLevel: connect.IdempotencyNoSideEffects}
}

// complete returns a document with the zero values that protobuf's JSON leaves
// out, and names of fields and enums in their first form. What cannot be read
// as the message stays as it is.
func complete(d protoreflect.MessageDescriptor, doc any) any {
	data, err := match.Encode(doc, "")
	if err != nil {
		return doc
	}
	msg := dynamicpb.NewMessage(d)
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, msg); err != nil {
		return doc
	}
	if data, err = (protojson.MarshalOptions{EmitDefaultValues: true}).Marshal(msg); err != nil {
		return doc
	}
	full, err := match.Decode(data)
	if err != nil {
		return doc
	}
	return full
}
