package pipeline

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// later matches the names of tests that only the integration stage runs.
const later = "Integration|Contract"

var (
	laterName = regexp.MustCompile(later)
	laterFile = regexp.MustCompile(`^(.*_)?(integration|contract)_test\.go$`)
)

// laterFolder reports whether only the integration stage runs a package's tests.
func laterFolder(importPath string) bool {
	return slices.Contains(strings.Split(importPath, "/"), "integration")
}

// selection is packages with one pattern that tells their tests of the
// integration stage from their unit tests.
type selection struct {
	pattern string
	unit    []string // packages whose other tests are unit tests
	later   []string // packages that have tests of the integration stage
}

func (s selection) note(packages []string) string {
	if len(packages) == 1 {
		return packages[0]
	}
	return plural(len(packages), "package")
}

// tests sorts the tests of packages. Most go by the names of their tests; a
// package with tests that belong to the integration stage because of their file
// has a pattern of its own.
func (t tree) tests(g *graph, packages []string) ([]selection, error) {
	byName, whole := selection{pattern: later}, selection{pattern: "."}
	var own []selection
	for _, name := range packages {
		if laterFolder(name) {
			whole.later = append(whole.later, name)
			continue
		}
		any, others, err := t.later(g.packages[name])
		switch {
		case err != nil:
			return nil, err
		case len(others) > 0:
			own = append(own, selection{later + "|^(" + strings.Join(others, "|") + ")$", []string{name}, []string{name}})
			continue
		case any:
			byName.later = append(byName.later, name)
		}
		byName.unit = append(byName.unit, name)
	}
	return append([]selection{byName, whole}, own...), nil
}

// later reports whether a package has tests of the integration stage, and which
// of them only their files' names tell.
func (t tree) later(p *pkg) (any bool, others []string, err error) {
	for _, file := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
		data, err := t.read(filepath.Join(p.Dir, file))
		if err != nil {
			return false, nil, err
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, data, parser.SkipObjectResolution)
		if err != nil {
			return false, nil, err
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") || fn.Name.Name == "TestMain" {
				continue
			}
			switch byName, byFile := laterName.MatchString(fn.Name.Name), laterFile.MatchString(file); {
			case byName:
				any = true
			case byFile:
				any, others = true, append(others, fn.Name.Name)
			}
		}
	}
	return any, others, nil
}
