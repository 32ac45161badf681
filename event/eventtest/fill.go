package eventtest

import (
	"reflect"
	"time"
)

// fill returns a value of type typ in which nothing is zero that can be
// something else.
func fill(typ reflect.Type) any {
	v := reflect.New(typ).Elem()
	set(v, 0)
	return v.Interface()
}

// maxDepth ends types that contain themselves.
const maxDepth = 8

var moment = time.Date(2024, 2, 29, 12, 30, 15, 123456000, time.UTC)

func set(v reflect.Value, depth int) {
	if depth > maxDepth || !v.CanSet() {
		return
	}
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(moment))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(7)
	case reflect.Float32, reflect.Float64:
		v.SetFloat(1.5)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		set(v.Elem(), depth+1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		set(v.Index(0), depth+1)
	case reflect.Array:
		for i := range v.Len() {
			set(v.Index(i), depth+1)
		}
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		set(key, depth+1)
		set(value, depth+1)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.Struct:
		for i := range v.NumField() {
			set(v.Field(i), depth+1)
		}
	}
}
