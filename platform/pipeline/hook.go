package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// mark tells our hook from another's.
const mark = "# Installed by `cleave pipeline hook install`."

// HookError says why the hook was not installed, and what to do instead.
type HookError struct{ Text string }

func (e *HookError) Error() string { return e.Text }

// InstallHook installs a pre-commit hook into the git repository of the system
// in dir, and returns its file. Executable is the program that the hook runs
// where no cleave is in PATH. A hook that somebody else wrote, and a hooks
// folder that other repositories use too, are left alone.
func InstallHook(ctx context.Context, dir, executable string) (file string, err error) {
	dir, err = filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
	}
	ask := func(args ...string) (string, error) {
		c := command{dir: dir, env: scrub(os.Environ()), args: append([]string{"git"}, args...)}
		out, all, err := c.run(ctx)
		if err != nil {
			return "", fmt.Errorf("git %s: %w\n%s", args[0], err, strings.TrimSpace(all))
		}
		return strings.TrimSpace(out), nil
	}
	top, err := ask("rev-parse", "--show-toplevel")
	if err != nil {
		return "", &HookError{dir + " is in no git repository: " + err.Error()}
	}
	hooks, err := ask("-C", top, "rev-parse", "--path-format=absolute", "--git-path", "hooks")
	if err != nil {
		return "", err
	}
	common, err := ask("-C", top, "rev-parse", "--path-format=absolute", "--git-common-dir")
	if err != nil {
		return "", err
	}
	script, err := hookScript(top, dir, executable)
	if err != nil {
		return "", err
	}
	file = filepath.Join(hooks, "pre-commit")
	call := "add to it:\n\n" + script
	if !within(common, hooks) && !within(top, hooks) {
		return "", &HookError{fmt.Sprintf("core.hooksPath is %s, which other repositories use too; if its pre-commit hook shall judge this one, %s", hooks, call)}
	}
	switch old, err := os.ReadFile(file); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return "", err
	case !strings.Contains(string(old), mark):
		return "", &HookError{fmt.Sprintf("%s exists and was not written by cleave; %s", file, call)}
	}
	if err := os.MkdirAll(hooks, 0o755); err != nil {
		return "", err
	}
	if err := write(file, []byte("#!/bin/sh\n"+script)); err != nil {
		return "", err
	}
	return file, os.Chmod(file, 0o755)
}

func hookScript(top, dir, executable string) (string, error) {
	rel, err := filepath.Rel(top, dir)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`%s It judges what is staged.
# To commit without it once: git commit --no-verify
cleave=$(command -v cleave || echo %s)
if [ ! -x "$cleave" ]; then
	echo "pre-commit: cleave is not in PATH; install it, or commit with --no-verify" >&2
	exit 1
fi
"$cleave" pipeline run --stage pre-commit --staged --dir %s || exit 1
`, mark, quote(executable), quote(filepath.ToSlash(rel))), nil
}

// quote makes one word of a text for a shell.
func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
