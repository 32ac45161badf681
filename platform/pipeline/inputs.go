package pipeline

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// tree reads files as a stage sees them: from disk, or partly from the index of
// git.
type tree struct {
	root    string            // the system's folder; names of inputs are relative to it
	overlay map[string]string // from a path to the file that stands for it, or to "" when it is not there
}

func (t tree) read(file string) ([]byte, error) {
	if other, ok := t.overlay[file]; ok {
		if other == "" {
			return nil, os.ErrNotExist
		}
		file = other
	}
	return os.ReadFile(file)
}

// file adds a file; one that is missing is not added.
func (t tree) file(in inputs, file string) error {
	data, err := t.read(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		in.add(t.name(file), string(data))
	}
	return err
}

func (t tree) name(file string) string {
	if rel, err := filepath.Rel(t.root, file); err == nil {
		return filepath.ToSlash(rel)
	}
	return file
}

// packages adds what the packages of the scope and their tests are built from
// and may read: all files of their folders, embedded files, testdata; the
// versions of modules; go.mod, go.sum and their kin.
func (t tree) packages(in inputs, g *graph, scope []string) error {
	modules := map[string]bool{}
	seen := map[string]bool{}
	folders := map[string]bool{} // of packages: each is walked for itself
	for _, p := range g.packages {
		folders[p.Dir] = true
	}
	for _, s := range scope {
		in["package "+s] = "tested"
		for _, name := range g.needs(s) {
			p := g.packages[name]
			if p.Module != nil && !p.local() {
				m := p.Module
				if m.Replace != nil {
					m = m.Replace
				}
				in["module "+p.Module.Path] = m.Path + " " + m.Version + " " + m.Sum
			}
			if !p.local() {
				continue
			}
			modules[p.Module.Dir] = true
			deep := slices.Contains(scope, name)
			if seen[name] {
				continue
			}
			seen[name] = true
			if err := t.folder(in, p, folders, deep); err != nil {
				return err
			}
		}
	}
	for dir := range modules {
		for _, name := range []string{"go.mod", "go.sum", "staticcheck.conf"} {
			if err := t.file(in, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}

// folder adds the files of a package; deep also those of the folders below that
// are no packages themselves, which its tests may read.
func (t tree) folder(in inputs, p *pkg, folders map[string]bool, deep bool) error {
	for _, name := range slices.Concat(p.EmbedFiles, p.TestEmbedFiles, p.XTestEmbedFiles) {
		if err := t.file(in, filepath.Join(p.Dir, name)); err != nil {
			return err
		}
	}
	for file := range t.overlay { // files that are only in the index
		if filepath.Dir(file) == p.Dir {
			if err := t.file(in, file); err != nil {
				return err
			}
		}
	}
	return filepath.WalkDir(p.Dir, func(file string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, os.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !d.IsDir():
			if !d.Type().IsRegular() && d.Type()&fs.ModeSymlink == 0 {
				return nil
			}
			if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
				return nil
			}
			return t.file(in, file)
		case file == p.Dir:
			return nil
		case !deep, strings.HasPrefix(d.Name(), "."), d.Name() == "node_modules":
			return fs.SkipDir
		case d.Name() != "testdata" && !strings.Contains(t.name(file), "testdata/") && (folders[file] || holdsGo(file)):
			return fs.SkipDir
		}
		return nil
	})
}

// holdsGo reports whether a folder is a package or a module of its own.
func holdsGo(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && slices.ContainsFunc(entries, func(e fs.DirEntry) bool {
		return !e.IsDir() && (strings.HasSuffix(e.Name(), ".go") || e.Name() == "go.mod")
	})
}
