package graphql

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// leaf appends one scalar or enum value as JSON.
type leaf func(b []byte, v protoreflect.Value) ([]byte, error)

// leafOf checks that the scalar or enum t can be read from fd.
func leafOf(t *outType, fd protoreflect.FieldDescriptor) (leaf, error) {
	k := fd.Kind()
	mismatch := fmt.Errorf("is %s, which cannot be read from %s %s", t.leafName(), k, fd.FullName())
	switch {
	case t.enum != nil && k == protoreflect.EnumKind:
		return enumLeaf(t, fd.Enum())
	case t.enum != nil && k == protoreflect.StringKind:
		return func(b []byte, v protoreflect.Value) ([]byte, error) { return appendEnum(b, t, v.String()) }, nil
	case t.scalar == "String" && k == protoreflect.StringKind, t.scalar == "ID" && k == protoreflect.StringKind:
		return func(b []byte, v protoreflect.Value) ([]byte, error) { return appendString(b, v.String()), nil }, nil
	case t.scalar == "ID" && isInteger(k):
		return func(b []byte, v protoreflect.Value) ([]byte, error) { return appendString(b, v.String()), nil }, nil
	case t.scalar == "Int" && isInteger(k):
		return intLeaf(k), nil
	case t.scalar == "Float" && isFloat(k):
		return func(b []byte, v protoreflect.Value) ([]byte, error) { return appendFloat(b, v.Float()) }, nil
	case t.scalar == "Float" && isInteger(k):
		return func(b []byte, v protoreflect.Value) ([]byte, error) { return append(b, v.String()...), nil }, nil
	case t.scalar == "Boolean" && k == protoreflect.BoolKind:
		return func(b []byte, v protoreflect.Value) ([]byte, error) { return strconv.AppendBool(b, v.Bool()), nil }, nil
	case t.scalar == "DateTime" && fd.Message() != nil && fd.Message().FullName() == timestampName:
		return func(b []byte, v protoreflect.Value) ([]byte, error) { return appendTimestamp(b, v.Message()) }, nil
	}
	return nil, mismatch
}

func (t *outType) leafName() string {
	if t.enum != nil {
		return "an enum"
	}
	return t.scalar
}

// enumLeaf maps numbers to names at load. The zero value may be outside the GraphQL enum: it means not set.
func enumLeaf(t *outType, ed protoreflect.EnumDescriptor) (leaf, error) {
	prefix := enumPrefix(ed)
	names := make(map[protoreflect.EnumNumber]string, ed.Values().Len())
	for i := range ed.Values().Len() {
		v := ed.Values().Get(i)
		name := string(v.Name())
		if !t.enum[name] {
			name = strings.TrimPrefix(name, prefix)
		}
		switch {
		case t.enum[name]:
			names[v.Number()] = name
		case v.Number() != 0:
			return nil, fmt.Errorf("does not know the value %s of %s", v.Name(), ed.FullName())
		}
	}
	return func(b []byte, v protoreflect.Value) ([]byte, error) {
		n := v.Enum()
		if name, ok := names[n]; ok {
			return appendString(b, name), nil
		}
		if n == 0 {
			return append(b, "null"...), nil
		}
		return b, fmt.Errorf("%s has no value %d", ed.FullName(), n)
	}, nil
}

func enumPrefix(ed protoreflect.EnumDescriptor) string {
	var b strings.Builder
	name := string(ed.Name())
	for i := range len(name) {
		c := name[i]
		if i > 0 && 'A' <= c && c <= 'Z' && (name[i-1] < 'A' || name[i-1] > 'Z') {
			b.WriteByte('_')
		}
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		b.WriteByte(c)
	}
	return b.String() + "_"
}

func appendEnum(b []byte, t *outType, name string) ([]byte, error) {
	switch {
	case t.enum[name]:
		return appendString(b, name), nil
	case name == "":
		return append(b, "null"...), nil
	}
	return b, fmt.Errorf("%.40q is not a value of the enum", name)
}

func intLeaf(k protoreflect.Kind) leaf {
	switch k {
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind, protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return func(b []byte, v protoreflect.Value) ([]byte, error) {
			n := v.Uint()
			if n > math.MaxInt32 {
				return b, fmt.Errorf("%d is beyond Int", n)
			}
			return strconv.AppendUint(b, n, 10), nil
		}
	}
	return func(b []byte, v protoreflect.Value) ([]byte, error) { return appendInt(b, v.Int()) }
}

func appendInt(b []byte, n int64) ([]byte, error) {
	if n < math.MinInt32 || n > math.MaxInt32 {
		return b, fmt.Errorf("%d is beyond Int", n)
	}
	return strconv.AppendInt(b, n, 10), nil
}

func appendFloat(b []byte, f float64) ([]byte, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return b, fmt.Errorf("%v is not a Float", f)
	}
	return strconv.AppendFloat(b, f, 'g', -1, 64), nil
}

func appendTimestamp(b []byte, m protoreflect.Message) ([]byte, error) {
	ts, ok := m.Interface().(*timestamppb.Timestamp)
	if !ok {
		fields := m.Descriptor().Fields()
		ts = &timestamppb.Timestamp{Seconds: m.Get(fields.ByNumber(1)).Int(), Nanos: int32(m.Get(fields.ByNumber(2)).Int())}
	}
	if err := ts.CheckValid(); err != nil {
		return b, err
	}
	return appendTime(b, ts.AsTime())
}

func appendTime(b []byte, t time.Time) ([]byte, error) {
	t = t.UTC()
	if y := t.Year(); y < 1 || y > 9999 {
		return b, fmt.Errorf("the year %d is beyond RFC 3339", y)
	}
	b = append(b, '"')
	b = t.AppendFormat(b, time.RFC3339Nano)
	return append(b, '"'), nil
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string; what is not UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' {
				i++
				continue
			}
			b = append(b, s[start:i]...)
			b = appendEscaped(b, c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			b = append(b, s[start:i]...)
			b = append(b, "\ufffd"...)
			i += size
			start = i
			continue
		}
		i += size
	}
	return append(append(b, s[start:]...), '"')
}

func appendEscaped(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
