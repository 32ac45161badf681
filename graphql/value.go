package graphql

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// value is anything a field can hold before it is written: part of a message,
// messages grouped by a join, or what a Go resolver returned.
type value struct {
	kind     valueKind
	proto    protoreflect.Value
	leaf     leaf
	messages []protoreflect.Message
	goValue  any
}

type valueKind uint8

const (
	isNull valueKind = iota
	isProto
	isProtoList
	isMessages
	isGo
)

func protoField(a *accessor, m protoreflect.Message) value {
	v, ok := a.get(m)
	if !ok {
		return value{}
	}
	if n := len(a.path); n > 0 && a.path[n-1].IsList() {
		return value{kind: isProtoList, proto: v, leaf: a.leaf}
	}
	return value{kind: isProto, proto: v, leaf: a.leaf}
}

func messageOf(m protoreflect.Message) value {
	return value{kind: isProto, proto: protoreflect.ValueOfMessage(m)}
}

// fromGo looks through pointers; a nil pointer, slice or map is null.
func fromGo(x any) value {
	switch m := x.(type) {
	case nil:
		return value{}
	case *timestamppb.Timestamp:
		if m == nil {
			return value{}
		}
		return value{kind: isGo, goValue: m.AsTime()}
	case proto.Message:
		if r := m.ProtoReflect(); r.IsValid() {
			return messageOf(r)
		}
		return value{}
	case fieldReader:
		return value{kind: isGo, goValue: x}
	}
	switch r := reflect.ValueOf(x); r.Kind() {
	case reflect.Pointer:
		if r.IsNil() {
			return value{}
		}
		return fromGo(r.Elem().Interface())
	case reflect.Slice, reflect.Map:
		if r.IsNil() {
			return value{}
		}
	}
	return value{kind: isGo, goValue: x}
}

// length returns how long a list is; ok is false for anything else.
func (v *value) length() (n int, ok bool) {
	switch v.kind {
	case isProtoList:
		return v.proto.List().Len(), true
	case isMessages:
		return len(v.messages), true
	case isGo:
		if r := reflect.ValueOf(v.goValue); r.Kind() == reflect.Slice || r.Kind() == reflect.Array {
			return r.Len(), true
		}
	}
	return 0, false
}

// item returns an element of a list.
func (v *value) item(i int) value {
	switch v.kind {
	case isProtoList:
		return value{kind: isProto, proto: v.proto.List().Get(i), leaf: v.leaf}
	case isMessages:
		return messageOf(v.messages[i])
	}
	return fromGo(reflect.ValueOf(v.goValue).Index(i).Interface())
}

// object is a parent whose fields can be read.
type object struct {
	msg     protoreflect.Message
	goValue any
}

// object returns v as a parent; ok is false when it has no fields.
func (v *value) object() (object, bool) {
	switch v.kind {
	case isProto:
		m, ok := v.proto.Interface().(protoreflect.Message)
		return object{msg: m}, ok
	case isGo:
		if _, ok := v.goValue.(fieldReader); ok {
			return object{goValue: v.goValue}, true
		}
		switch reflect.TypeOf(v.goValue).Kind() {
		case reflect.Struct, reflect.Map:
			return object{goValue: v.goValue}, true
		}
	}
	return object{}, false
}

// fieldReader is a parent that answers its fields itself.
type fieldReader interface {
	readField(name string, args map[string]any) any
}

// goField reads a field of a Go value: a map's key, or a struct's field by its json name or its own.
func goField(parent any, names []string, args map[string]any) (value, error) {
	v := value{kind: isGo, goValue: parent}
	for _, name := range names {
		if v.kind == isProto { // a message inside a Go value
			m, ok := v.proto.Interface().(protoreflect.Message)
			if !ok {
				return value{}, fmt.Errorf("%s is asked of a value without fields", name)
			}
			fd := fieldNamed(m.Descriptor(), name)
			if fd == nil || fd.Message() == nil || fd.IsList() {
				return value{}, fmt.Errorf("%s has no message %s", m.Descriptor().FullName(), name)
			}
			v = protoField(&accessor{path: []protoreflect.FieldDescriptor{fd}}, m)
		} else if v.kind == isGo {
			var err error
			if v, err = goStep(v.goValue, name, args); err != nil {
				return v, err
			}
		}
	}
	return v, nil
}

func goStep(parent any, name string, args map[string]any) (value, error) {
	switch p := parent.(type) {
	case fieldReader:
		return fromGo(p.readField(name, args)), nil
	case map[string]any:
		return fromGo(p[name]), nil
	}
	r := reflect.ValueOf(parent)
	if r.Kind() != reflect.Struct {
		return value{}, fmt.Errorf("%T has no fields", parent)
	}
	index, ok := structFields(r.Type())[strings.ToLower(name)]
	if !ok {
		return value{}, fmt.Errorf("%T has no field %s", parent, name)
	}
	f, err := r.FieldByIndexErr(index)
	if err != nil {
		return value{}, nil
	}
	return fromGo(f.Interface()), nil
}

var structCache sync.Map // reflect.Type to map[string][]int; one entry per resolver result type

func structFields(t reflect.Type) map[string][]int {
	if m, ok := structCache.Load(t); ok {
		return m.(map[string][]int)
	}
	m := map[string][]int{}
	for _, f := range reflect.VisibleFields(t) {
		if !f.IsExported() || f.Anonymous {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			name = f.Name
		}
		m[strings.ToLower(name)] = f.Index
	}
	stored, _ := structCache.LoadOrStore(t, m)
	return stored.(map[string][]int)
}

var errNotLeaf = errors.New("is not a value of the field's type")

// appendGo writes a Go value as the scalar or enum t.
func appendGo(b []byte, t *outType, x any) ([]byte, error) {
	if at, ok := x.(time.Time); ok && t.scalar == "DateTime" {
		return appendTime(b, at)
	}
	r := reflect.ValueOf(x)
	switch {
	case t.enum == nil && !builtin[t.scalar]:
		j, err := json.Marshal(x)
		return append(b, j...), err
	case t.enum != nil && r.Kind() == reflect.String:
		return appendEnum(b, t, r.String())
	case (t.scalar == "String" || t.scalar == "ID") && r.Kind() == reflect.String:
		return appendString(b, r.String()), nil
	case t.scalar == "Boolean" && r.Kind() == reflect.Bool:
		return strconv.AppendBool(b, r.Bool()), nil
	case t.scalar == "Float" && r.CanFloat():
		return appendFloat(b, r.Float())
	case t.scalar == "Int" && r.CanUint() && r.Uint() <= math.MaxInt32:
		return strconv.AppendUint(b, r.Uint(), 10), nil
	case r.CanInt():
		return appendGoInt(b, t, r.Int())
	}
	return b, fmt.Errorf("%T %w %s", x, errNotLeaf, t.leafName())
}

var builtin = map[string]bool{"String": true, "ID": true, "Int": true, "Float": true, "Boolean": true, "DateTime": true}

func appendGoInt(b []byte, t *outType, n int64) ([]byte, error) {
	switch t.scalar {
	case "Int":
		return appendInt(b, n)
	case "Float":
		return strconv.AppendInt(b, n, 10), nil
	case "ID":
		return append(strconv.AppendInt(append(b, '"'), n, 10), '"'), nil
	}
	return b, fmt.Errorf("a number %w %s", errNotLeaf, t.leafName())
}
