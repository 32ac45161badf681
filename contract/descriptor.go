package contract

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	// What recorded descriptors may import is known to every program.
	_ "google.golang.org/protobuf/types/known/anypb"
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/emptypb"
	_ "google.golang.org/protobuf/types/known/fieldmaskpb"
	_ "google.golang.org/protobuf/types/known/structpb"
	_ "google.golang.org/protobuf/types/known/timestamppb"
	_ "google.golang.org/protobuf/types/known/wrapperspb"
)

const wellKnownFiles = "google/protobuf/"

// describe returns a method's descriptors, without what it does not use: a
// program that does not know the provider's messages can answer for it then.
func (m method) describe() (string, error) {
	d := description{needed: map[protoreflect.FullName]bool{}}
	d.message(m.schema.Input())
	d.message(m.schema.Output())
	d.file(m.schema.ParentFile())
	set := &descriptorpb.FileDescriptorSet{}
	for _, f := range d.files {
		p := protodesc.ToFileDescriptorProto(f)
		p.Options, p.SourceCodeInfo, p.Extension = nil, nil, nil
		p.PublicDependency, p.WeakDependency, p.OptionDependency = nil, nil, nil
		name := func(s string) protoreflect.FullName { return f.Package().Append(protoreflect.Name(s)) }
		p.MessageType = slices.DeleteFunc(p.MessageType, func(x *descriptorpb.DescriptorProto) bool { return !d.needed[name(x.GetName())] })
		p.EnumType = slices.DeleteFunc(p.EnumType, func(x *descriptorpb.EnumDescriptorProto) bool { return !d.needed[name(x.GetName())] })
		p.Service = slices.DeleteFunc(p.Service, func(x *descriptorpb.ServiceDescriptorProto) bool {
			return name(x.GetName()) != m.schema.Parent().FullName()
		})
		for _, s := range p.Service {
			s.Method = slices.DeleteFunc(s.Method, func(x *descriptorpb.MethodDescriptorProto) bool { return x.GetName() != string(m.schema.Name()) })
		}
		p.Dependency = slices.DeleteFunc(p.Dependency, func(path string) bool { return !d.imports(path) })
		set.File = append(set.File, p)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
	return base64.StdEncoding.EncodeToString(data), err
}

// description collects the messages and enums that a method needs, by the name
// of the outermost, and their files, each behind those it imports.
type description struct {
	needed map[protoreflect.FullName]bool
	files  []protoreflect.FileDescriptor
	known  []string // well-known files in use
}

func (d *description) message(m protoreflect.MessageDescriptor) {
	if d.seen(m) {
		return
	}
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		if f.Message() != nil {
			d.message(f.Message())
		}
		if f.Enum() != nil {
			d.seen(f.Enum())
		}
	}
	d.file(m.ParentFile())
}

// seen notes a message or enum, and reports whether it was noted before.
func (d *description) seen(x protoreflect.Descriptor) bool {
	if d.needed[x.FullName()] {
		return true
	}
	d.needed[x.FullName()] = true
	if parent, ok := x.Parent().(protoreflect.MessageDescriptor); ok {
		d.message(parent)
	}
	d.file(x.ParentFile())
	return false
}

func (d *description) file(f protoreflect.FileDescriptor) {
	if strings.HasPrefix(f.Path(), wellKnownFiles) {
		d.known = append(d.known, f.Path())
		return
	}
	if !slices.ContainsFunc(d.files, func(x protoreflect.FileDescriptor) bool { return x.Path() == f.Path() }) {
		d.files = append(d.files, f)
	}
}

func (d *description) imports(path string) bool {
	return slices.Contains(d.known, path) || slices.ContainsFunc(d.files, func(x protoreflect.FileDescriptor) bool { return x.Path() == path })
}

// parseDescriptors reads what describe wrote.
func parseDescriptors(text string) (*protoregistry.Files, error) {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("descriptors: %w", err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(data, set); err != nil {
		return nil, fmt.Errorf("descriptors: %w", err)
	}
	for _, path := range []string{"any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers"} {
		f, err := protoregistry.GlobalFiles.FindFileByPath(wellKnownFiles + path + ".proto")
		if err != nil {
			return nil, fmt.Errorf("descriptors: %w", err)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	files, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, fmt.Errorf("descriptors: %w", err)
	}
	return files, nil
}
