package pact

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/cleave-go/cleave/contract/internal/match"
)

// ErrConflict says that another test recorded something else under the same
// description and states.
var ErrConflict = errors.New("another test recorded something else")

// FileName is the name of the file for a pair.
func FileName(consumer, provider string) string { return consumer + "-" + provider + ".json" }

var (
	merging sync.Mutex
	// recorded has the tests of this process that recorded in a file.
	recorded = map[string]bool{}
)

// Merge adds what one test recorded to the file of its pair in dir, replacing
// what the test of that name recorded before. A file that would not change is
// not written.
func Merge(dir string, f *File, test string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	path := filepath.Join(dir, FileName(f.Consumer, f.Provider))
	merging.Lock()
	defer merging.Unlock()
	unlock, err := lock(path)
	if err != nil {
		return err
	}
	defer unlock()
	old, err := readBounded(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// What a test of this package recorded that has not run again yet may be out
	// of date; what another package's did is believed.
	outdated := func(other string) bool { return pkg(other) == pkg(test) && !recorded[path+" "+other] }
	data, err := merged(old, f, test, outdated)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	recorded[path+" "+test] = true
	if bytes.Equal(old, data) {
		return nil
	}
	return replace(path, data)
}

func pkg(test string) string {
	name, _, _ := strings.Cut(test, ".")
	return name
}

func merged(old []byte, f *File, test string, outdated func(test string) bool) ([]byte, error) {
	m := map[string]any{}
	if len(old) > 0 {
		v, err := match.Decode(old)
		if err != nil {
			return nil, err
		}
		m = object(v)
		if got, err := version(object(m["metadata"])); err != nil || got != 4 {
			return nil, fmt.Errorf("it is of version %d of the specification; delete it to record version 4", got)
		}
	}
	m["consumer"], m["provider"] = named(f.Consumer), named(f.Provider)
	byKey, list := map[string]any{}, []any{}
	for _, x := range array(m["interactions"]) {
		if testName(object(x)) != test {
			byKey[key(object(x))] = x
			list = append(list, x)
		}
	}
	for i := range f.Interactions {
		x, err := plain(f.Interactions[i].json())
		if err != nil {
			return nil, err
		}
		if other, ok := byKey[key(x)].(map[string]any); ok {
			owner := testName(other)
			switch {
			case sameContent(other, x):
				other["comments"] = map[string]any{"testname": min(test, owner)} // the same whoever comes first
			case outdated(owner):
				clear(other)
				maps.Copy(other, x)
			default:
				return nil, fmt.Errorf("%w as %q: %s; give one of them a name of its own, or run that test first if it changed too", ErrConflict, f.Interactions[i].Description, owner)
			}
			continue
		}
		byKey[key(x)] = x
		list = append(list, x)
	}
	m["interactions"] = list
	setDescriptors(m, f)
	return encodeFile(m)
}

// setDescriptors keeps the descriptors of the procedures that m's interactions
// call, as f has them or else as they were.
func setDescriptors(m map[string]any, f *File) {
	metadata := maps.Clone(object(m["metadata"]))
	if metadata == nil {
		metadata = map[string]any{}
	}
	m["metadata"] = metadata
	known, kept := map[string]any{}, map[string]any{}
	maps.Copy(known, descriptors(metadata))
	for _, in := range f.Interactions {
		if in.Descriptors != "" {
			known[in.Request.Path] = in.Descriptors
		}
	}
	for _, x := range array(m["interactions"]) {
		path := str(object(object(x)["request"])["path"])
		if text, ok := known[path]; ok {
			kept[path] = text
		}
	}
	delete(metadata, "cleave")
	if len(kept) > 0 {
		metadata["cleave"] = map[string]any{"descriptors": kept}
	}
}

// plain passes m through JSON, so that it compares with what was read.
func plain(m map[string]any) (map[string]any, error) {
	data, err := match.Encode(m, "")
	if err != nil {
		return nil, err
	}
	v, err := match.Decode(data)
	return object(v), err
}

func testName(m map[string]any) string { return str(object(m["comments"])["testname"]) }

func sameContent(a, b map[string]any) bool {
	strip := func(m map[string]any) []byte {
		c := map[string]any{}
		for k, v := range m {
			if k != "comments" {
				c[k] = v
			}
		}
		data, _ := match.Encode(c, "")
		return data
	}
	return bytes.Equal(strip(a), strip(b))
}

// replace writes a file whole or not at all.
func replace(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".pact-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err = errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

const (
	lockStale = 10 * time.Second // a lock this old was left by a process that died
	lockPause = 2 * time.Millisecond
)

// lock keeps other processes from merging into the same file.
func lock(path string) (unlock func(), err error) {
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".lock")
	for {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
		if err == nil {
			return func() { os.Remove(name) }, f.Close()
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		if info, err := os.Stat(name); err == nil && time.Since(info.ModTime()) > lockStale {
			os.Remove(name)
			continue
		}
		time.Sleep(lockPause)
	}
}
