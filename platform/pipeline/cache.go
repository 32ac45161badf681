package pipeline

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// inputs are everything a stage's result depends on: a name for people, and a
// hash or a short text.
type inputs map[string]string

func (in inputs) add(name, content string) {
	sum := sha256.Sum256([]byte(content))
	in[name] = hex.EncodeToString(sum[:16])
}

// key is the same for equal inputs only.
func (in inputs) key() string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(in)) {
		fmt.Fprintf(h, "%d %s %d %s\n", len(name), name, len(in[name]), in[name])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// differs says in which inputs in is not before; at most five are named, the
// system's own first.
func (in inputs) differs(before inputs) string {
	var changed, added, gone []string
	for name, v := range in {
		if old, ok := before[name]; !ok {
			added = append(added, name)
		} else if old != v {
			changed = append(changed, name)
		}
	}
	for name := range before {
		if _, ok := in[name]; !ok {
			gone = append(gone, name)
		}
	}
	var parts []string
	for _, p := range []struct {
		word string
		list []string
	}{{"changed", changed}, {"new", added}, {"gone", gone}} {
		if len(p.list) == 0 {
			continue
		}
		slices.SortFunc(p.list, func(a, b string) int {
			away := func(s string) string { return strings.Repeat("~", strings.Count(s, "../")) + s }
			return strings.Compare(away(a), away(b))
		})
		text := strings.Join(p.list[:min(5, len(p.list))], ", ")
		if more := len(p.list) - 5; more > 0 {
			text += fmt.Sprintf(" and %d more", more)
		}
		parts = append(parts, p.word+": "+text)
	}
	return strings.Join(parts, "; ")
}

// entry is what is kept of a run of a stage.
type entry struct {
	Format  int     `json:"format"`
	Key     string  `json:"key"`
	Inputs  inputs  `json:"inputs"`
	Outcome Outcome `json:"outcome"`
	Result  Result  `json:"result"`
}

// format changes when what stages do, or what is kept, changes its meaning.
const format = 1

// maxEntries bounds the results that are kept.
const maxEntries = 400

// cache keeps results in a folder: those that passed by key, and the last of
// each stage and service, to tell what changed since.
type cache struct{ dir string }

func openCache(state string) (cache, error) {
	c := cache{filepath.Join(state, "pipeline")}
	for _, dir := range []string{state, c.dir, c.passed(), c.last(), c.artifacts()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return c, err
		}
	}
	ignore := filepath.Join(state, ".gitignore")
	if _, err := os.Stat(ignore); errors.Is(err, os.ErrNotExist) {
		if err := os.WriteFile(ignore, []byte("*\n"), 0o600); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c cache) passed() string    { return filepath.Join(c.dir, "passed") }
func (c cache) last() string      { return filepath.Join(c.dir, "last") }
func (c cache) artifacts() string { return filepath.Join(c.dir, "artifacts") }

func (c cache) lastFile(st Stage, service string) string {
	return filepath.Join(c.last(), string(st)+"."+service+".json")
}

// find returns the result that passed with these inputs. Otherwise it says why
// the stage has to run.
func (c cache) find(st Stage, service string, in inputs) (Result, string, bool) {
	key := in.key()
	if e, err := read(filepath.Join(c.passed(), key+".json")); err == nil && e.Key == key && e.Inputs.key() == key && e.Outcome == Passed {
		if e.Result.Artifact == "" || intact(c.artifact(e.Result.Artifact), e.Result.Artifact) {
			return e.Result, "", true
		}
		return Result{}, "its artefact is gone or was changed", false
	}
	last, err := read(c.lastFile(st, service))
	switch {
	case err != nil:
		return Result{}, "it never ran here", false
	case last.Key == key && last.Outcome == Failed:
		return Result{}, "it failed last time", false
	case last.Key == key:
		return Result{}, "its result is gone", false
	}
	return Result{}, in.differs(last.Inputs), false
}

// keep stores a result.
func (c cache) keep(st Stage, service string, in inputs, r Result) error {
	e := entry{Format: format, Key: in.key(), Inputs: in, Outcome: r.Outcome, Result: r}
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if r.Outcome == Passed {
		if err := write(filepath.Join(c.passed(), e.Key+".json"), data); err != nil {
			return err
		}
		prune(c.passed(), maxEntries)
	}
	return write(c.lastFile(st, service), data)
}

func read(file string) (entry, error) {
	var e entry
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(data, &e)
	}
	if err == nil && e.Format != format {
		err = fmt.Errorf("format %d", e.Format)
	}
	return e, err
}

// write replaces a file at once.
func write(file string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(file), ".new-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}

// prune keeps the newest files of a folder.
func prune(dir string, keep int) {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) <= keep {
		return
	}
	var files []os.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files = append(files, info)
		}
	}
	slices.SortFunc(files, func(a, b os.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, f := range files[min(keep, len(files)):] {
		_ = os.Remove(filepath.Join(dir, f.Name()))
	}
}
