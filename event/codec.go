package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
)

// ErrUnknownType says that a codec has no kind of a record's type. A newer
// release may have written it.
var ErrUnknownType = errors.New("event: unknown type")

// ErrUnknownSchema says that a codec knows the type but not this schema of it:
// it is newer than the code, or older than its first upcaster.
var ErrUnknownSchema = errors.New("event: unknown schema")

// Kind is one member of a sealed interface: a Go type and its name on the wire.
type Kind struct {
	name   string
	schema int
	typ    reflect.Type
	decode func([]byte) (any, error)
	ups    []Upcaster
}

// Upcaster rewrites data of one schema as the next.
type Upcaster struct {
	from     int
	old, new reflect.Type
	rewrite  func([]byte) ([]byte, error)
}

// Of names T on the wire, "order.placed" say. The schema starts at 1 and rises
// with each incompatible change of T; for each number below it that is still
// stored somewhere, an Up leads on to the next.
func Of[T any](name string, schema int, ups ...Upcaster) Kind {
	return Kind{
		name:   name,
		schema: schema,
		typ:    reflect.TypeFor[T](),
		decode: func(data []byte) (any, error) {
			var t T
			err := json.Unmarshal(data, &t)
			return t, err
		},
		ups: ups,
	}
}

// Up says how data of schema from, which is of type Old, reads as schema from+1,
// which is of type New.
func Up[Old, New any](from int, f func(Old) New) Upcaster {
	return Upcaster{
		from: from,
		old:  reflect.TypeFor[Old](),
		new:  reflect.TypeFor[New](),
		rewrite: func(data []byte) ([]byte, error) {
			var o Old
			if err := json.Unmarshal(data, &o); err != nil {
				return nil, err
			}
			return json.Marshal(f(o))
		},
	}
}

// Codec turns the events of one sealed interface E into records and back. It is
// a value built once, safe for concurrent use.
type Codec[E any] struct {
	byName map[string]Kind
	byType map[reflect.Type]Kind
	types  func() []string
}

// NewCodec returns a codec of the given kinds. It panics, so call it for a
// package variable, if a kind does not implement E, a name or a type repeats, a
// name or schema cannot be, or the upcasters of a kind do not lead step by step
// to its schema.
func NewCodec[E any](kinds ...Kind) *Codec[E] {
	c := &Codec[E]{byName: map[string]Kind{}, byType: map[reflect.Type]Kind{}}
	e := reflect.TypeFor[E]()
	for _, k := range kinds {
		if err := k.check(e); err != nil {
			panic(fmt.Sprintf("event: codec of %v: %v", e, err))
		}
		if _, ok := c.byName[k.name]; ok {
			panic(fmt.Sprintf("event: codec of %v: the name %q is given twice", e, k.name))
		}
		if _, ok := c.byType[k.typ]; ok {
			panic(fmt.Sprintf("event: codec of %v: the type %v is given twice", e, k.typ))
		}
		c.byName[k.name] = k
		c.byType[k.typ] = k
	}
	c.types = sync.OnceValue(func() []string {
		names := make([]string, 0, len(c.byName))
		for name := range c.byName {
			names = append(names, name)
		}
		slices.Sort(names)
		return names
	})
	return c
}

// check also sorts the upcasters.
func (k *Kind) check(e reflect.Type) error {
	if err := CheckType(k.name); err != nil {
		return err
	}
	if k.schema < 1 {
		return fmt.Errorf("%s has schema %d: the first is 1", k.name, k.schema)
	}
	if k.typ == nil || k.typ.Kind() == reflect.Interface {
		return fmt.Errorf("%s is of type %v: want a concrete type", k.name, k.typ)
	}
	if !k.typ.AssignableTo(e) {
		return fmt.Errorf("%v, named %s, does not implement it", k.typ, k.name)
	}
	k.ups = slices.Clone(k.ups)
	slices.SortFunc(k.ups, func(a, b Upcaster) int { return a.from - b.from })
	for i, up := range k.ups {
		if want := k.schema - len(k.ups) + i; up.from != want || up.from < 1 {
			return fmt.Errorf("%s: the upcasters must lead from schema %d to %d without a gap", k.name, max(1, k.schema-len(k.ups)), k.schema)
		}
		next := k.typ
		if i+1 < len(k.ups) {
			next = k.ups[i+1].old
		}
		if up.new != next {
			return fmt.Errorf("%s: the upcaster from schema %d makes %v, but schema %d is %v", k.name, up.from, up.new, up.from+1, next)
		}
	}
	return nil
}

// Encode returns e as a Record with a new ID, Type, Schema and Data.
func (c *Codec[E]) Encode(e E) (Record, error) {
	k, ok := c.byType[reflect.TypeOf(any(e))]
	if !ok {
		return Record{}, fmt.Errorf("%w: the codec has no name for a %T", ErrUnknownType, e)
	}
	data, err := json.Marshal(e)
	if err != nil {
		return Record{}, fmt.Errorf("event: encode %s: %w", k.name, err)
	}
	return Record{ID: NewID(), Type: k.name, Schema: k.schema, Data: data}, nil
}

// Decode returns r with its data as a Go value, brought to the present schema.
// The error wraps ErrUnknownType or ErrUnknownSchema if that is what is wrong.
func (c *Codec[E]) Decode(r Record) (Envelope[E], error) {
	env := Envelope[E]{ID: r.ID, Stream: r.Stream, Version: r.Version, Position: r.Position,
		Type: r.Type, Schema: r.Schema, Time: r.Time, Meta: r.Meta}
	k, ok := c.byName[r.Type]
	if !ok {
		return env, fmt.Errorf("%w %q of event %s in %s", ErrUnknownType, r.Type, r.ID, r.Stream)
	}
	skip := r.Schema - (k.schema - len(k.ups)) // upcasters that are behind it
	if skip < 0 || skip > len(k.ups) {
		return env, fmt.Errorf("%w %d of %s of event %s in %s: this code reads %d to %d",
			ErrUnknownSchema, r.Schema, r.Type, r.ID, r.Stream, k.schema-len(k.ups), k.schema)
	}
	data := []byte(r.Data)
	var err error
	for _, up := range k.ups[skip:] {
		if data, err = up.rewrite(data); err != nil {
			return env, fmt.Errorf("event: read schema %d of %s as schema %d: event %s in %s: %w", up.from, r.Type, up.from+1, r.ID, r.Stream, err)
		}
	}
	v, err := k.decode(data)
	if err != nil {
		return env, fmt.Errorf("event: decode %s: event %s in %s: %w", r.Type, r.ID, r.Stream, err)
	}
	env.Schema = k.schema
	env.Data = v.(E)
	return env, nil
}

// Types returns the names of all kinds in alphabetical order.
func (c *Codec[E]) Types() []string { return slices.Clone(c.types()) }

// Schema is a form that the data of a type has, or once had.
type Schema struct {
	Type   string
	Number int
	Go     reflect.Type
}

// Schemas returns every schema that the codec reads, by type and number.
func (c *Codec[E]) Schemas() []Schema {
	var all []Schema
	for _, name := range c.types() {
		k := c.byName[name]
		for _, up := range k.ups {
			all = append(all, Schema{name, up.from, up.old})
		}
		all = append(all, Schema{name, k.schema, k.typ})
	}
	return all
}

// Has reports whether the codec knows the type.
func (c *Codec[E]) Has(name string) bool {
	_, ok := c.byName[name]
	return ok
}
