package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// change is what a commit would change, or what was changed since the last one,
// and how to look at it.
type change struct {
	top     string   // the working tree; empty when there is no repository
	files   []string // that differ from the last commit, or are new
	tree    tree
	flags   []string // for go: the overlay
	whole   string   // a folder with a copy of the index that stands for top; empty: top itself
	differs []string // files of the working tree that differ from the index
	extra   []string // files of the working tree that are not in the index
}

// gitLines runs git in the system's folder and returns the NUL-separated answer.
func (l *line) gitLines(ctx context.Context, stdin string, args ...string) ([]string, error) {
	c := command{dir: l.sys.Dir, env: l.git, stdin: stdin, args: append([]string{"git"}, args...)}
	out, all, err := c.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("git %s: %w\n%s", args[0], err, strings.TrimSpace(all))
	}
	return strings.FieldsFunc(strings.TrimSuffix(out, "\n"), func(r rune) bool { return r == 0 }), nil
}

// absolute turns names that git gave into paths.
func absolute(top string, names []string) []string {
	list := make([]string, len(names))
	for k, n := range names {
		list[k] = filepath.Join(top, filepath.FromSlash(n))
	}
	return list
}

// changes returns what differs from the last commit: in the index if staged is
// set, otherwise in the working tree. tmp is a folder for copies.
func (l *line) changes(ctx context.Context, staged bool, tmp string) (change, error) {
	c := change{tree: tree{root: l.sys.Dir}}
	top, err := l.gitLines(ctx, "", "rev-parse", "--show-toplevel")
	if err != nil || len(top) != 1 {
		if staged || ctx.Err() != nil {
			return c, errors.Join(err, ctx.Err())
		}
		return c, nil
	}
	c.top = top[0]
	at := []string{"-C", c.top}
	head := "HEAD"
	if _, err := l.gitLines(ctx, "", "rev-parse", "--verify", "--quiet", "HEAD"); err != nil {
		empty, err := l.gitLines(ctx, "", "hash-object", "-t", "tree", "/dev/null")
		if err != nil {
			return c, err
		}
		head = strings.Join(empty, "")
	}
	diff := append(at, "diff", "--name-only", "--no-renames", "--no-ext-diff", "-z")
	if !staged {
		changed, err := l.gitLines(ctx, "", append(slices.Clone(diff), head)...)
		if err != nil {
			return c, err
		}
		fresh, err := l.gitLines(ctx, "", append(slices.Clone(at), "ls-files", "--others", "--exclude-standard", "-z")...)
		c.files = absolute(c.top, append(changed, fresh...))
		return c, err
	}
	changed, err := l.gitLines(ctx, "", append(slices.Clone(diff), "--cached", head)...)
	if err != nil {
		return c, err
	}
	dirty, err := l.gitLines(ctx, "", append(slices.Clone(diff), "--ignore-submodules")...)
	if err != nil {
		return c, err
	}
	others, err := l.gitLines(ctx, "", append(slices.Clone(at), "ls-files", "--others", "-z")...)
	if err != nil {
		return c, err
	}
	others = slices.DeleteFunc(others, func(n string) bool { return strings.HasPrefix(n, ".cleave/") || strings.Contains(n, "/.cleave/") })
	c.files, c.differs, c.extra = absolute(c.top, changed), absolute(c.top, dirty), absolute(c.top, others)
	return c, l.overlay(ctx, &c, dirty, tmp)
}

// overlay lets go see the index in place of the working tree.
func (l *line) overlay(ctx context.Context, c *change, dirty []string, tmp string) error {
	c.tree.overlay = map[string]string{}
	for _, file := range c.extra {
		if strings.HasSuffix(file, ".go") {
			c.tree.overlay[file] = ""
		}
	}
	if len(dirty) > 0 {
		blobs := filepath.Join(tmp, "blobs")
		if _, err := l.gitLines(ctx, strings.Join(dirty, "\x00")+"\x00", "-C", c.top, "checkout-index", "--prefix="+blobs+"/", "-z", "--stdin"); err != nil {
			return err
		}
		for k, file := range c.differs {
			c.tree.overlay[file] = filepath.Join(blobs, filepath.FromSlash(dirty[k]))
		}
	}
	if len(c.tree.overlay) == 0 {
		return nil
	}
	data, err := json.Marshal(map[string]any{"Replace": c.tree.overlay})
	if err != nil {
		return err
	}
	name := filepath.Join(tmp, "overlay.json")
	c.flags = []string{"-overlay=" + name}
	return os.WriteFile(name, data, 0o600)
}

// copied replaces the overlay by a full copy of the index. It is slower, and
// needed when something differs that tests read at run time, or that decides
// how packages are built.
func (l *line) copied(ctx context.Context, c *change, tmp string) error {
	c.whole = filepath.Join(tmp, "index")
	if _, err := l.gitLines(ctx, "", "-C", c.top, "checkout-index", "--all", "--prefix="+c.whole+"/"); err != nil {
		return err
	}
	for k, file := range c.files {
		c.files[k] = c.in(file)
	}
	c.tree, c.flags = tree{root: c.in(l.sys.Dir)}, nil
	return nil
}

// in returns where a path of the working tree is looked at.
func (c *change) in(file string) string {
	if c.whole == "" {
		return file
	}
	rel, err := filepath.Rel(c.top, file)
	if err != nil {
		return file
	}
	return filepath.Join(c.whole, rel)
}

// overlayFails tells whether an overlay cannot stand for the index: something
// differs beside Go files that packages of the graph may read.
func (c *change) overlayFails(g *graph) bool {
	embedded, folders := map[string]bool{}, []string{}
	for _, p := range g.packages {
		if !p.local() {
			continue
		}
		folders = append(folders, p.Dir)
		for _, name := range slices.Concat(p.EmbedFiles, p.TestEmbedFiles, p.XTestEmbedFiles) {
			embedded[filepath.Join(p.Dir, name)] = true
		}
	}
	slash := string(filepath.Separator)
	return slices.ContainsFunc(c.differs, func(file string) bool {
		return (!strings.HasSuffix(file, ".go") || strings.Contains(file, slash+"testdata"+slash)) &&
			(moduleFile(file) || slices.ContainsFunc(folders, func(dir string) bool { return within(dir, file) }))
	}) || slices.ContainsFunc(c.extra, func(file string) bool {
		return embedded[file] || moduleFile(file) || (strings.Contains(file, slash+"testdata"+slash) &&
			slices.ContainsFunc(folders, func(dir string) bool { return within(dir, file) }))
	})
}

func moduleFile(file string) bool {
	switch filepath.Base(file) {
	case "go.mod", "go.sum", "go.work", "go.work.sum":
		return true
	}
	return false
}

// gofmt finds the formatter that belongs to go.
func (l *line) gofmt() string {
	name := filepath.Join(l.goroot, "bin", "gofmt")
	if _, err := os.Stat(name); err == nil {
		return name
	}
	return "gofmt"
}
