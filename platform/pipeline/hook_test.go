package pipeline_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/platform/pipeline"
)

func TestTheHookRunsBeforeACommit(t *testing.T) {
	y := newToy(t)
	bin := t.TempDir()
	cleave := filepath.Join(bin, "it's cleave")
	if err := os.WriteFile(cleave, []byte("#!/bin/sh\necho called with \"$@\"\nexit 7\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second time changes nothing
		if _, err := pipeline.InstallHook(t.Context(), y.dir, cleave); err != nil {
			t.Fatal(err)
		}
	}
	y.write("shop/more.go", "package shop\n")
	y.git("add", "-A")
	cmd := exec.Command("git", "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-m", "second")
	cmd.Dir, cmd.Env = y.dir, append(os.Environ(), "PATH=/usr/bin:/bin")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "called with pipeline run --stage pre-commit --staged --dir .") {
		t.Errorf("git commit: %v\n%s", err, out)
	}
}

func TestAHookOfSomebodyElseStays(t *testing.T) {
	shared := t.TempDir()
	tests := []struct {
		name    string
		arrange func(y *toy)
		want    string // in the error; empty: it is installed
	}{
		{"a hook written by hand", func(y *toy) { y.write(".git/hooks/pre-commit", "#!/bin/sh\nmake lint\n") }, "was not written by cleave"},
		{"a hooks folder of all repositories", func(y *toy) { y.git("config", "core.hooksPath", shared) }, "which other repositories use too"},
		{"a hooks folder in the repository", func(y *toy) { y.git("config", "core.hooksPath", "githooks") }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			y := newToy(t)
			tt.arrange(y)
			file, err := pipeline.InstallHook(t.Context(), y.dir, "/opt/cleave")
			var refused *pipeline.HookError
			switch {
			case tt.want == "" && (err != nil || filepath.Base(filepath.Dir(file)) != "githooks"):
				t.Errorf("got %q, %v", file, err)
			case tt.want != "" && (!errors.As(err, &refused) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "--stage pre-commit")):
				t.Errorf("got %v, want %q and what to do", err, tt.want)
			}
		})
	}
	if entries, _ := os.ReadDir(shared); len(entries) != 0 {
		t.Errorf("something was written into the shared folder: %v", entries)
	}
}
