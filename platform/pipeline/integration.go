package pipeline

import (
	"context"
	"slices"
)

// tag is the build tag that files of integration tests may have.
const tag = "-tags=integration"

// integrationInputs returns what the integration stage of a service depends on,
// and the tests to run.
func (l *line) integrationInputs(ctx context.Context, u unit) (inputs, []selection, error) {
	src, err := l.source(ctx, u)
	if err != nil {
		return nil, nil, err
	}
	in, t, err := l.files()
	if err != nil {
		return nil, nil, err
	}
	g, scope := src.graph, src.scope
	for _, p := range g.packages {
		if p.local() && len(p.IgnoredGoFiles) > 0 { // the tag may choose some of them
			if g, scope, err = l.scope(ctx, l.command(), []string{tag}, []unit{u}); err != nil {
				return nil, nil, err
			}
			break
		}
	}
	tests, err := t.tests(g, scope)
	if err != nil {
		return nil, nil, err
	}
	if err := t.packages(in, g, scope); err != nil {
		return nil, nil, err
	}
	files, err := l.contracts()
	for _, f := range files {
		if err == nil {
			err = t.file(in, f)
		}
	}
	return in, tests, err
}

// integration runs the tests that need real stores and brokers, and those that
// verify contracts.
func (l *line) integration(ctx context.Context, j *job, u unit) error {
	in, tests, err := l.integrationInputs(ctx, u)
	if err != nil {
		return err
	}
	if err := j.changed(in); err != nil {
		return err
	}
	none := true
	for _, s := range tests {
		if len(s.later) == 0 {
			continue
		}
		none = false
		args := slices.Concat([]string{"go", "test", "-count=1", "-vet=off", tag, "-run", s.pattern}, s.later)
		if err := j.run(ctx, "integration tests", s.note(s.later), l.command(args...)); err != nil {
			return err
		}
	}
	if !none {
		return nil
	}
	return j.step("integration tests", "", func() (string, string, error) {
		return "there are none: no test or its file or folder is named integration or contract", "", nil
	})
}
