package pipeline

import (
	"context"
	"os"
	"path/filepath"
	"slices"
)

// source is what a run knows of a service's sources: it looks once, so that all
// stages judge the same.
type source struct {
	graph    *graph
	scope    []string
	inputs   inputs
	artifact string // that the commit stage made in this run
}

// source looks at the sources of a service.
func (l *line) source(ctx context.Context, u unit) (*source, error) {
	if s := l.sources[u.Name]; s != nil {
		return s, nil
	}
	in, t, err := l.files()
	if err != nil {
		return nil, err
	}
	g, scope, err := l.scope(ctx, l.command(), nil, []unit{u})
	if err != nil {
		return nil, err
	}
	in["program"] = u.Run.Package
	if err := t.packages(in, g, scope); err != nil {
		return nil, err
	}
	l.sources[u.Name] = &source{graph: g, scope: scope, inputs: in}
	return l.sources[u.Name], nil
}

// commit compiles, tests and analyses, and keeps the binary.
func (l *line) commit(ctx context.Context, j *job, u unit) error {
	src, err := l.source(ctx, u)
	if err != nil {
		return err
	}
	if err := j.changed(src.inputs); err != nil {
		src.artifact = j.result.Artifact
		return err
	}
	scope := src.scope
	tmp, err := os.MkdirTemp(l.cache.dir, ".build-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	binary := filepath.Join(tmp, "program")
	// The revision of the repository is left out of the binary: its name is its
	// content, which only sources should change.
	if err := j.run(ctx, "build", u.Run.Package, l.command("go", "build", "-buildvcs=false", "-o", binary, u.Run.Package)); err != nil {
		return err
	}
	tests, err := tree{root: l.sys.Dir}.tests(src.graph, scope)
	if err != nil {
		return err
	}
	if err := j.unitTests(ctx, tests, l.command("go", "test", "-vet=off")); err != nil {
		return err
	}
	if err := j.run(ctx, "vet", plural(len(scope), "package"), l.command(append([]string{"go", "vet"}, scope...)...)); err != nil {
		return err
	}
	if l.lint {
		if err := j.run(ctx, "staticcheck", plural(len(scope), "package"),
			l.command(append([]string{"go", "tool", "staticcheck"}, scope...)...)); err != nil {
			return err
		}
	}
	return j.step("artefact", "", func() (string, string, error) {
		digest, err := l.cache.store(binary)
		if err != nil {
			return "", "", err
		}
		j.result.Artifact, src.artifact = digest, digest
		return "sha256 " + digest[:12], "", nil
	})
}

// unitTests runs all tests but those of the integration stage.
func (j *job) unitTests(ctx context.Context, tests []selection, c command) error {
	for _, s := range tests {
		if len(s.unit) == 0 {
			continue
		}
		with := c
		with.args = slices.Concat(c.args, []string{"-skip", s.pattern}, s.unit)
		if err := j.run(ctx, "unit tests", s.note(s.unit), with); err != nil {
			return err
		}
	}
	return nil
}

// built returns the artefact that the commit stage made of what is here.
func (l *line) built(ctx context.Context, u unit) (digest string, err error) {
	src, err := l.source(ctx, u)
	if err != nil || src.artifact != "" {
		return src.made(), err
	}
	r, _, ok := l.cache.find(Commit, u.Name, src.inputs)
	if !ok {
		return "", &NeedError{Missing: Commit, Service: u.Name}
	}
	src.artifact = r.Artifact
	return r.Artifact, nil
}

func (s *source) made() string {
	if s == nil {
		return ""
	}
	return s.artifact
}
