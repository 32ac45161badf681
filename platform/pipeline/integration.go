package pipeline

import (
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// tag is the build tag that files of integration tests may have.
const tag = "-tags=integration"

var laterName = regexp.MustCompile(later)

// integrationInputs returns what the integration stage of a service depends on,
// the graph, and the packages that have something to run.
func (l *line) integrationInputs(ctx context.Context, u unit) (in inputs, whole, some []string, err error) {
	src, err := l.source(ctx, u)
	if err != nil {
		return nil, nil, nil, err
	}
	in, t, err := l.files()
	if err != nil {
		return nil, nil, nil, err
	}
	g, scope := src.graph, src.scope
	for _, p := range g.packages {
		if p.local() && len(p.IgnoredGoFiles) > 0 { // the tag may choose some of them
			if g, scope, err = l.scope(ctx, l.command(), []string{tag}, []unit{u}); err != nil {
				return nil, nil, nil, err
			}
			break
		}
	}
	for _, name := range scope {
		tests, err := laterTests(g.packages[name])
		switch {
		case err != nil:
			return nil, nil, nil, err
		case laterFolder(name):
			whole = append(whole, name)
		case tests:
			some = append(some, name)
		}
	}
	if err := t.packages(in, g, scope); err != nil {
		return nil, nil, nil, err
	}
	files, err := l.contracts()
	for _, f := range files {
		if err == nil {
			err = t.file(in, f)
		}
	}
	return in, whole, some, err
}

// laterTests reports whether a package has tests that the integration stage
// runs by their names.
func laterTests(p *pkg) (bool, error) {
	for _, name := range slices.Concat(p.TestGoFiles, p.XTestGoFiles) {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return false, err
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") && laterName.MatchString(fn.Name.Name) {
				return true, nil
			}
		}
	}
	return false, nil
}

// integration runs the tests that need real stores and brokers, and those that
// verify contracts.
func (l *line) integration(ctx context.Context, j *job, u unit) error {
	in, whole, some, err := l.integrationInputs(ctx, u)
	if err != nil {
		return err
	}
	if err := j.changed(in); err != nil {
		return err
	}
	if len(whole)+len(some) == 0 {
		return j.step("integration tests", "", func() (string, string, error) {
			return "there are none: no test is named Integration or Contract, no folder integration", "", nil
		})
	}
	if len(some) > 0 {
		args := append([]string{"go", "test", "-count=1", "-vet=off", tag, "-run", later}, some...)
		if err := j.run(ctx, "integration and contract tests", plural(len(some), "package"), l.command(args...)); err != nil {
			return err
		}
	}
	if len(whole) > 0 {
		args := append([]string{"go", "test", "-count=1", "-vet=off", tag}, whole...)
		return j.run(ctx, "integration tests", plural(len(whole), "package"), l.command(args...))
	}
	return nil
}
