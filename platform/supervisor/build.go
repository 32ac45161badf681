package supervisor

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// artifact is a program in .cleave/bin, named after its content.
type artifact struct {
	path    string
	version string // the beginning of the content's SHA-256
	kit     bool   // whether it registers itself and takes over sockets
}

// BuildError carries what the compiler said.
type BuildError struct{ Output string }

func (e *BuildError) Error() string { return "the build failed:\n" + e.Output }

// build compiles the packages, paths relative to dir, in one go and returns an
// artifact for each. Nothing is kept of a build that fails.
func build(ctx context.Context, l Layout, packages []string) (map[string]artifact, error) {
	built := map[string]artifact{}
	// `go build -o FOLDER` names each result after its package's last element, so
	// packages of equal names go into separate rounds.
	round := 0
	for rest := packages; len(rest) > 0; round++ {
		var now, later []string
		names := map[string]bool{}
		for _, p := range rest {
			if name := path.Base(p); names[name] {
				later = append(later, p)
			} else {
				names[name] = true
				now = append(now, p)
			}
		}
		if err := buildRound(ctx, l, l.build(round), now, built); err != nil {
			return nil, err
		}
		rest = later
	}
	return built, nil
}

// buildRound keeps what the linker makes in a folder of its own: go leaves a
// program there alone when nothing changed.
func buildRound(ctx context.Context, l Layout, out string, packages []string, built map[string]artifact) error {
	if err := os.MkdirAll(out, 0o700); err != nil {
		return err
	}
	args := append([]string{"build", "-o", out + string(filepath.Separator)}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = l.Dir
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &exit):
			return &BuildError{Output: strings.TrimSpace(output.String())}
		case errors.Is(err, exec.ErrNotFound):
			return errors.New("go is not in PATH; it is needed to build the services")
		}
		return err
	}
	for _, p := range packages {
		name := path.Base(p)
		if p == "." {
			name = filepath.Base(l.Dir)
		}
		a, err := store(l, filepath.Join(out, name), name)
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%s is not a program: no func main, or the package's folder is not called %s", p, name)
		}
		if err != nil {
			return err
		}
		built[p] = a
	}
	return nil
}

// store moves or copies an executable into bin under its content's name.
func store(l Layout, file, name string) (artifact, error) {
	f, err := os.Open(file)
	if err != nil {
		return artifact{}, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return artifact{}, err
	}
	version := hex.EncodeToString(h.Sum(nil)[:6])
	target := filepath.Join(l.Bin(), name+"-"+version)
	if _, err := os.Stat(target); err == nil {
		return inspect(target, version), nil
	}
	tmp, err := os.CreateTemp(l.Bin(), "new-")
	if err != nil {
		return artifact{}, err
	}
	defer os.Remove(tmp.Name())
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return artifact{}, err
	}
	_, err = io.Copy(tmp, f)
	if err = errors.Join(err, tmp.Chmod(0o700), tmp.Close()); err != nil {
		return artifact{}, err
	}
	if err := os.Rename(tmp.Name(), target); err != nil {
		return artifact{}, err
	}
	return inspect(target, version), nil
}

// inspect tells whether a binary is linked with the kit.
func inspect(file, version string) artifact {
	a := artifact{path: file, version: version}
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return a
	}
	for _, dep := range info.Deps {
		a.kit = a.kit || dep.Path == "github.com/cleave-go/cleave/kit"
	}
	return a
}

// clean removes what no program uses, except the two newest of each name.
func clean(l Layout, used map[string]bool) {
	entries, err := os.ReadDir(l.Bin())
	if err != nil {
		return
	}
	byName := map[string][]os.FileInfo{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || e.IsDir() || strings.HasPrefix(e.Name(), "new-") {
			_ = os.RemoveAll(filepath.Join(l.Bin(), e.Name()))
			continue
		}
		if i := strings.LastIndexByte(e.Name(), '-'); i > 0 {
			byName[e.Name()[:i]] = append(byName[e.Name()[:i]], info)
		}
	}
	for _, files := range byName {
		slices.SortFunc(files, func(a, b os.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
		for _, f := range files[min(2, len(files)):] {
			if file := filepath.Join(l.Bin(), f.Name()); !used[file] {
				_ = os.Remove(file)
			}
		}
	}
}
