package contract

import "google.golang.org/protobuf/reflect/protoreflect"

// Describe returns a method's recorded descriptors.
func Describe(m protoreflect.MethodDescriptor) (string, error) { return method{schema: m}.describe() }
