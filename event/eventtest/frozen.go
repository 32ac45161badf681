package eventtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/cleave-go/cleave/event"
)

// Frozen fails t unless all that the codec reads is as it is in the files of
// dir. An example is the sample of its type's present schema; the fields of
// other types are filled with values of their kind.
func Frozen[E any](t testing.TB, c *event.Codec[E], dir string, examples ...E) {
	t.Helper()
	given := map[reflect.Type]any{}
	for _, e := range examples {
		given[reflect.TypeOf(any(e))] = e
	}
	schemas := c.Schemas()
	known := map[string]bool{}
	for i, s := range schemas {
		file := fmt.Sprintf("%s.v%d.json", s.Type, s.Number)
		known[file] = true
		present := i+1 == len(schemas) || schemas[i+1].Type != s.Type
		sample, ok := given[s.Go]
		if !ok {
			sample = fill(s.Go)
		}
		if err := check(filepath.Join(dir, file), s, present, sample); err != nil {
			t.Errorf("%s, schema %d: %v", s.Type, s.Number, err)
			continue
		}
		golden, err := os.ReadFile(filepath.Join(dir, file))
		if err == nil {
			_, err = c.Decode(event.Record{Type: s.Type, Schema: s.Number, Data: golden})
		}
		if err != nil {
			t.Errorf("%s, schema %d, is not read any more: %v", s.Type, s.Number, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		t.Error(err)
	}
	for _, f := range files {
		if !known[filepath.Base(f)] {
			t.Errorf("the codec does not read %s any more: keep its type and upcaster, or delete the file if no such event is stored anywhere", f)
		}
	}
}

// check compares one file with its type.
func check(file string, s event.Schema, present bool, sample any) error {
	text, err := json.MarshalIndent(sample, "", "\t")
	if err != nil {
		return err
	}
	golden, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return freeze(file, text, "it is not frozen yet")
	}
	if err != nil {
		return err
	}
	back, err := rewrite(golden, s.Go)
	if err != nil {
		return fmt.Errorf("its Go type %v was changed: %w\nGive it back what %s holds; to change it, raise the schema and add an event.Up from the old type", s.Go, err, file)
	}
	frozen, read, now := tree(golden), tree(back), tree(text)
	if !holds(read, frozen) {
		return fmt.Errorf("its Go type %v was changed: what was written as -, it writes as +\n%s\nGive it back what %s holds; to change it, raise the schema and add an event.Up from the old type",
			s.Go, Diff(golden, back), file)
	}
	if sameShape(frozen, now) {
		return nil
	}
	if !present {
		return fmt.Errorf("its Go type %v, which is past, has grown:\n%s", s.Go, Diff(golden, text))
	}
	text, err = json.MarshalIndent(merge(frozen, now), "", "\t")
	if err != nil {
		return err
	}
	return freeze(file, text, "it has fields that are not frozen yet")
}

func freeze(file string, text []byte, why string) error {
	if os.Getenv("CLEAVE_UPDATE") == "" {
		return fmt.Errorf("%s: run the test once with CLEAVE_UPDATE=1 in the environment and commit %s", why, file)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// rewrite reads data as a value of type typ, every field of it, and writes that.
func rewrite(data []byte, typ reflect.Type) ([]byte, error) {
	v := reflect.New(typ)
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v.Interface()); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("there is something behind its end")
	}
	return json.MarshalIndent(v.Elem().Interface(), "", "\t")
}

// tree returns JSON as maps, slices and values.
func tree(text []byte) any {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil
	}
	return v
}

// holds reports whether got has all that want has; it may have more members.
func holds(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		for k, w := range want {
			g, there := got[k]
			ok = ok && there && holds(g, w)
		}
		return ok
	case []any:
		got, ok := got.([]any)
		ok = ok && len(got) == len(want)
		for i := 0; ok && i < len(want); i++ {
			ok = holds(got[i], want[i])
		}
		return ok
	}
	return reflect.DeepEqual(got, want)
}

// sameShape reports whether frozen has every member that now has.
func sameShape(frozen, now any) bool { return reflect.DeepEqual(merge(frozen, now), frozen) }

// merge returns frozen with the members that only now has.
func merge(frozen, now any) any {
	switch f := frozen.(type) {
	case map[string]any:
		n, ok := now.(map[string]any)
		if !ok {
			return frozen
		}
		all := map[string]any{}
		for k, v := range n {
			all[k] = v
		}
		for k, v := range f {
			all[k] = v
			if more, ok := n[k]; ok {
				all[k] = merge(v, more)
			}
		}
		return all
	case []any:
		n, ok := now.([]any)
		if !ok || len(f) == 0 || len(n) == 0 {
			return frozen
		}
		all := make([]any, len(f))
		for i := range f {
			all[i] = merge(f[i], n[0])
		}
		return all
	}
	return frozen
}
