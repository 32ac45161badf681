package graphql

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/vektah/gqlparser/v2/ast"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const timestampName = "google.protobuf.Timestamp"

// checked holds the pairs of input type and message already seen, as types may be recursive.
type checked map[[2]string]bool

// checkInput reports whether values of the GraphQL type t can be sent as fd.
func checkInput(full *ast.Schema, t *ast.Type, fd protoreflect.FieldDescriptor, seen checked) error {
	mismatch := fmt.Errorf("%s cannot be sent as %s %s", t, kindName(fd), fd.FullName())
	if fd.IsMap() {
		return mismatch
	}
	if t.Elem != nil {
		if !fd.IsList() || t.Elem.Elem != nil {
			return mismatch
		}
		return checkInputElem(full, t.Elem, fd, seen, mismatch)
	}
	if fd.IsList() {
		return mismatch
	}
	return checkInputElem(full, t, fd, seen, mismatch)
}

func checkInputElem(full *ast.Schema, t *ast.Type, fd protoreflect.FieldDescriptor, seen checked, mismatch error) error {
	def := full.Types[t.NamedType]
	k := fd.Kind()
	ok := false
	switch {
	case def.Kind == ast.InputObject:
		if fd.Message() == nil {
			return mismatch
		}
		return checkInputObject(full, def, fd.Message(), seen)
	case def.Kind == ast.Enum && k == protoreflect.EnumKind:
		for _, v := range def.EnumValues {
			if enumNumber(fd.Enum(), v.Name) == nil {
				return fmt.Errorf("%s.%s is not a value of %s", def.Name, v.Name, fd.Enum().FullName())
			}
		}
		return nil
	case def.Kind == ast.Enum:
		ok = k == protoreflect.StringKind
	case def.Name == "String":
		ok = k == protoreflect.StringKind
	case def.Name == "ID":
		ok = k == protoreflect.StringKind || isInteger(k)
	case def.Name == "Int":
		ok = isInteger(k) || isFloat(k)
	case def.Name == "Float":
		ok = isFloat(k)
	case def.Name == "Boolean":
		ok = k == protoreflect.BoolKind
	case def.Name == "DateTime":
		ok = fd.Message() != nil && fd.Message().FullName() == timestampName
	}
	if !ok {
		return mismatch
	}
	return nil
}

func checkInputObject(full *ast.Schema, def *ast.Definition, md protoreflect.MessageDescriptor, seen checked) error {
	pair := [2]string{def.Name, string(md.FullName())}
	if seen[pair] {
		return nil
	}
	seen[pair] = true
	for _, f := range def.Fields {
		fd := fieldNamed(md, f.Name)
		if fd == nil {
			return fmt.Errorf("%s.%s: %s has no such field", def.Name, f.Name, md.FullName())
		}
		if err := checkInput(full, f.Type, fd, seen); err != nil {
			return fmt.Errorf("%s.%s: %w", def.Name, f.Name, err)
		}
	}
	return nil
}

func kindName(fd protoreflect.FieldDescriptor) string {
	if fd.IsList() {
		return "repeated " + fd.Kind().String()
	}
	return fd.Kind().String()
}

func isInteger(k protoreflect.Kind) bool {
	switch k {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind, protoreflect.Uint32Kind, protoreflect.Fixed32Kind,
		protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return true
	}
	return false
}

func isFloat(k protoreflect.Kind) bool {
	return k == protoreflect.FloatKind || k == protoreflect.DoubleKind
}

// enumNumber finds a value by its name, with or without the enum's prefix (ORDER_STATUS_).
func enumNumber(ed protoreflect.EnumDescriptor, name string) *protoreflect.EnumNumber {
	v := ed.Values().ByName(protoreflect.Name(name))
	if v == nil {
		v = ed.Values().ByName(protoreflect.Name(enumPrefix(ed) + name))
	}
	if v == nil {
		return nil
	}
	n := v.Number()
	return &n
}

// setInput puts a coerced value into the request field that in names.
func setInput(msg protoreflect.Message, in *input, v any) *Error {
	if v == nil {
		return nil
	}
	for _, fd := range in.target[:len(in.target)-1] {
		msg = msg.Mutable(fd).Message()
	}
	return setField(msg, in.fd(), v)
}

func setField(msg protoreflect.Message, fd protoreflect.FieldDescriptor, v any) *Error {
	if v == nil {
		return nil
	}
	if fd.IsList() {
		items, ok := v.([]any)
		if !ok {
			items = []any{v}
		}
		list := msg.Mutable(fd).List()
		for i, item := range items {
			pv, err := protoValue(fd, list.NewElement, item)
			if err != nil {
				err.Field = fmt.Sprintf("[%d]%s", i, err.Field)
				return err
			}
			list.Append(pv)
		}
		return nil
	}
	pv, err := protoValue(fd, func() protoreflect.Value { return msg.NewField(fd) }, v)
	if err == nil {
		msg.Set(fd, pv)
	}
	return err
}

func protoValue(fd protoreflect.FieldDescriptor, fresh func() protoreflect.Value, v any) (protoreflect.Value, *Error) {
	switch x := v.(type) {
	case string:
		return stringValue(fd, x)
	case bool:
		if fd.Kind() == protoreflect.BoolKind {
			return protoreflect.ValueOfBool(x), nil
		}
	case int64:
		return intValue(fd, x)
	case float64:
		if fd.Kind() == protoreflect.DoubleKind {
			return protoreflect.ValueOfFloat64(x), nil
		} else if fd.Kind() == protoreflect.FloatKind {
			return protoreflect.ValueOfFloat32(float32(x)), nil
		}
	case time.Time:
		if fd.Message() != nil && fd.Message().FullName() == timestampName {
			m := fresh()
			proto.Merge(m.Message().Interface(), timestamppb.New(x))
			return m, nil
		}
	case map[string]any:
		if fd.Message() != nil {
			return messageValue(fd, fresh(), x)
		}
	}
	return protoreflect.Value{}, badInput("", "cannot be sent as %s", fd.Kind())
}

func messageValue(fd protoreflect.FieldDescriptor, m protoreflect.Value, values map[string]any) (protoreflect.Value, *Error) {
	for name, v := range values {
		sub := fieldNamed(fd.Message(), name)
		if sub == nil {
			return m, badInput("."+name, "is not known")
		}
		if err := setField(m.Message(), sub, v); err != nil {
			err.Field = "." + name + err.Field
			return m, err
		}
	}
	return m, nil
}

func stringValue(fd protoreflect.FieldDescriptor, s string) (protoreflect.Value, *Error) {
	switch k := fd.Kind(); {
	case k == protoreflect.StringKind:
		return protoreflect.ValueOfString(s), nil
	case k == protoreflect.EnumKind:
		if n := enumNumber(fd.Enum(), s); n != nil {
			return protoreflect.ValueOfEnum(*n), nil
		}
		return protoreflect.Value{}, badInput("", "%q is not a %s", s, fd.Enum().Name())
	case isInteger(k):
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return protoreflect.Value{}, badInput("", "%.40q is not a whole number", s)
		}
		return intValue(fd, n)
	}
	return protoreflect.Value{}, badInput("", "cannot be sent as %s", fd.Kind())
}

func intValue(fd protoreflect.FieldDescriptor, n int64) (protoreflect.Value, *Error) {
	tooLarge := func() *Error { return badInput("", "%d is out of range", n) }
	switch fd.Kind() {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		if n < math.MinInt32 || n > math.MaxInt32 {
			return protoreflect.Value{}, tooLarge()
		}
		return protoreflect.ValueOfInt32(int32(n)), nil
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		if n < 0 || n > math.MaxUint32 {
			return protoreflect.Value{}, tooLarge()
		}
		return protoreflect.ValueOfUint32(uint32(n)), nil
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(n), nil
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		if n < 0 {
			return protoreflect.Value{}, tooLarge()
		}
		return protoreflect.ValueOfUint64(uint64(n)), nil
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(n)), nil
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(n)), nil
	case protoreflect.StringKind: // a constant, or an ID written as a number
		return protoreflect.ValueOfString(strconv.FormatInt(n, 10)), nil
	}
	return protoreflect.Value{}, badInput("", "cannot be sent as %s", fd.Kind())
}
