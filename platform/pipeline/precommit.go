package pipeline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// preCommit formats, vets and tests what a change affects.
func (l *line) preCommit(ctx context.Context, j *job, units []unit) error {
	tmp, err := os.MkdirTemp("", "cleave-pre-commit-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if tmp, err = filepath.EvalSymlinks(tmp); err != nil {
		return err
	}
	c, err := l.changes(ctx, l.opts.Staged, tmp)
	if err != nil {
		return err
	}
	if c.top != "" && len(c.files) == 0 {
		what := "nothing differs from the last commit"
		if l.opts.Staged {
			what = "nothing is staged"
		}
		return j.skip("%s", what)
	}
	g, scope, err := l.scope(ctx, l.at(&c), c.flags, units)
	if l.opts.Staged && (err != nil || c.overlayFails(g)) {
		if err = l.copied(ctx, &c, tmp); err == nil {
			g, scope, err = l.scope(ctx, l.at(&c), nil, units)
		}
	}
	if err != nil {
		return err
	}
	affected := c.affected(g, scope)
	sources := c.sources(l.at(&c).dir)
	if len(affected)+len(sources) == 0 {
		return j.skip("no service uses what differs from the last commit")
	}
	in, _, err := l.files()
	if err != nil {
		return err
	}
	delete(in, "staticcheck version") // it has no part in this stage
	if err := c.tree.packages(in, g, affected); err != nil {
		return err
	}
	for _, file := range sources {
		if err := c.tree.file(in, file); err != nil {
			return err
		}
	}
	if err := j.changed(in); err != nil {
		return err
	}
	if err := l.formatted(ctx, j, &c, sources); err != nil {
		return err
	}
	if len(affected) == 0 {
		return nil
	}
	if err := j.run(ctx, "vet", plural(len(affected), "package"), l.at(&c, slices.Concat([]string{"go", "vet"}, c.flags, affected)...)); err != nil {
		return err
	}
	tests, err := c.tree.tests(g, affected)
	if err != nil {
		return err
	}
	return j.unitTests(ctx, tests, l.at(&c, slices.Concat([]string{"go", "test", "-short", "-vet=off"}, c.flags)...))
}

// at returns a command in the system's folder, as the change is looked at.
func (l *line) at(c *change, args ...string) command {
	return command{dir: c.in(l.sys.Dir), env: l.env, args: args}
}

// formatted checks the format of the changed Go files.
func (l *line) formatted(ctx context.Context, j *job, c *change, sources []string) error {
	if len(sources) == 0 {
		return nil
	}
	names := map[string]string{}
	args := []string{l.gofmt(), "-l"}
	for _, file := range sources {
		real := file
		if blob := c.tree.overlay[file]; blob != "" {
			real = blob
		}
		names[real] = c.tree.name(file)
		args = append(args, real)
	}
	return j.step("gofmt", "", func() (string, string, error) {
		out, all, err := l.at(c, args...).run(ctx)
		if err != nil {
			return "", all, err
		}
		var wrong []string
		for name := range strings.Lines(out) {
			wrong = append(wrong, names[strings.TrimSpace(name)])
		}
		if len(wrong) > 0 {
			return "", strings.Join(wrong, "\n"), errFormat
		}
		return plural(len(sources), "file"), "", nil
	})
}

var errFormat = errors.New("run gofmt -w on these files")

// sources returns the changed Go files below a folder that still exist, but not
// those that are data of tests.
func (c *change) sources(dir string) []string {
	slash := string(filepath.Separator)
	var list []string
	for _, file := range c.files {
		if !strings.HasSuffix(file, ".go") || !within(dir, file) || strings.Contains(file, slash+"testdata"+slash) {
			continue
		}
		if _, err := c.tree.read(file); err == nil {
			list = append(list, file)
		}
	}
	slices.Sort(list)
	return list
}

// affected returns the packages of the scope that were changed, or that a
// changed package is part of, tests included.
func (c *change) affected(g *graph, scope []string) []string {
	if c.top == "" || slices.ContainsFunc(c.files, moduleFile) {
		return scope
	}
	changed := map[string]bool{}
	for _, file := range c.files {
		if owner := g.owner(file); owner != "" {
			changed[owner] = true
		}
	}
	var list []string
	for _, name := range scope {
		if slices.ContainsFunc(g.needs(name), func(d string) bool { return changed[d] }) {
			list = append(list, name)
		}
	}
	return list
}

// owner returns the package in whose folder a file lies, or in the folders
// below it that are no packages.
func (g *graph) owner(file string) string {
	owner, longest := "", 0
	for name, p := range g.packages {
		if p.local() && len(p.Dir) > longest && within(p.Dir, file) {
			owner, longest = name, len(p.Dir)
		}
	}
	return owner
}
