package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// pkg is what `go list` says of a package.
type pkg struct {
	ImportPath, Dir, Name, ForTest              string
	Standard, DepOnly                           bool
	Module                                      *module
	Deps                                        []string
	TestGoFiles, XTestGoFiles                   []string
	EmbedFiles, TestEmbedFiles, XTestEmbedFiles []string
	IgnoredGoFiles                              []string
}

type module struct {
	Path, Version, Dir, GoMod, Sum string
	Main                           bool
	Replace                        *module
}

// local reports whether the package's source is a folder that may change, not a
// module of a fixed version.
func (p *pkg) local() bool {
	return p.Module != nil && (p.Module.Version == "" || (p.Module.Replace != nil && p.Module.Replace.Version == ""))
}

// graph is the packages that some packages and their tests are built from.
type graph struct {
	packages map[string]*pkg // by import path; test variants are left out
	tests    map[string]*pkg // the test binary of a package, by that package's import path
	matched  []string        // what the patterns name, sorted
}

// list asks go for the graph of patterns, relative to dir.
func list(ctx context.Context, c command, flags []string, patterns ...string) (*graph, error) {
	const fields = "-json=ImportPath,Dir,Name,ForTest,Standard,DepOnly,Module,Deps,TestGoFiles,XTestGoFiles,EmbedFiles,TestEmbedFiles,XTestEmbedFiles,IgnoredGoFiles"
	c.args = slices.Concat([]string{"go", "list", "-deps", "-test", fields}, flags, patterns)
	stdout, all, err := c.run(ctx)
	if err != nil {
		return nil, &outputError{all, err}
	}
	g := &graph{packages: map[string]*pkg{}, tests: map[string]*pkg{}}
	dec := json.NewDecoder(strings.NewReader(stdout))
	for {
		p := &pkg{}
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		plain, variant, _ := strings.Cut(p.ImportPath, " ")
		switch tested, isTest := strings.CutSuffix(p.ImportPath, ".test"); {
		case isTest && p.Name == "main":
			g.tests[tested] = p
		case variant == "" && p.ForTest == "":
			g.packages[plain] = p
			if !p.DepOnly {
				g.matched = append(g.matched, plain)
			}
		}
	}
	slices.Sort(g.matched)
	return g, nil
}

// outputError is a command that failed, with what it wrote.
type outputError struct {
	output string
	err    error
}

func (e *outputError) Error() string { return strings.TrimSpace(e.output) }
func (e *outputError) Unwrap() error { return e.err }

// needs returns the packages that p and its tests are built from, p included.
func (g *graph) needs(p string) []string {
	deps := []string{p}
	for _, of := range []*pkg{g.packages[p], g.tests[p]} {
		if of == nil {
			continue
		}
		for _, d := range of.Deps {
			plain, variant, _ := strings.Cut(d, " ")
			if variant != "" {
				plain = strings.TrimSuffix(plain, "_test")
			}
			deps = append(deps, plain)
		}
	}
	slices.Sort(deps)
	return slices.DeleteFunc(slices.Compact(deps), func(d string) bool { return g.packages[d] == nil })
}

// folderOf returns the folder that belongs to the service whose program is pkg:
// what lies above cmd, or the program's own folder.
func folderOf(pkg string) string {
	parts := strings.Split(path.Clean(pkg), "/")
	if i := slices.Index(parts, "cmd"); i > 0 {
		return "./" + path.Join(parts[:i]...)
	}
	if folder := path.Clean(pkg); folder != "." {
		return "./" + folder
	}
	return "."
}

// patternsOf returns what `go list` is asked for a service: its program and all
// below its folder. The folder of a whole module says nothing about the service.
func patternsOf(pkg string) []string {
	folder := folderOf(pkg)
	if folder == "." || strings.HasSuffix(folder, "..") {
		return []string{pkg}
	}
	return []string{pkg, folder + "/..."}
}

// scope returns the packages of a service: those its patterns match, and those
// of the system's own modules that they are built from. flags may add tags.
func (l *line) scope(ctx context.Context, c command, flags []string, services []unit) (*graph, []string, error) {
	var patterns []string
	for _, s := range services {
		patterns = append(patterns, patternsOf(s.Run.Package)...)
	}
	slices.Sort(patterns)
	first, err := list(ctx, c, flags, slices.Compact(patterns)...)
	if err != nil {
		return nil, nil, err
	}
	own := map[string]bool{} // folders of the system's modules
	for _, name := range first.matched {
		if m := first.packages[name].Module; m != nil {
			own[m.Dir] = true
		}
	}
	var scope []string
	for _, name := range first.matched {
		scope = append(scope, name)
		for _, d := range first.packages[name].Deps {
			if p := first.packages[d]; p != nil && p.local() && (own[p.Module.Dir] || within(c.dir, p.Module.Dir)) {
				scope = append(scope, d)
			}
		}
	}
	slices.Sort(scope)
	scope = slices.Compact(scope)
	g, err := list(ctx, c, flags, scope...)
	return g, scope, err
}

// within reports whether a path is dir or lies below it.
func within(dir, name string) bool {
	rel, err := filepath.Rel(dir, name)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
