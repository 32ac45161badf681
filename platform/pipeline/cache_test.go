package pipeline_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/platform/pipeline"
)

func TestUnchangedWorkIsNotRepeatedAndAMissNamesItsCause(t *testing.T) {
	y := newToy(t)
	y.opts.Stages = []pipeline.Stage{pipeline.Commit, pipeline.Integration, pipeline.Component}
	if first := result(t, y.must("shop"), pipeline.Commit); first.Outcome != pipeline.Passed || first.Why != "it never ran here" {
		t.Fatalf("at first %s: %s", first.Outcome, first.Why)
	}
	unchanged := func(t *testing.T) {
		t.Helper()
		for _, r := range y.must("shop").Results {
			if r.Outcome != pipeline.Unchanged {
				t.Errorf("nothing changed, but %s %s: %s", r.Stage, r.Outcome, r.Why)
			}
		}
	}
	unchanged(t)
	tests := []struct {
		name   string
		change func(t *testing.T)
		why    string
		stage  pipeline.Stage
	}{
		{"a source", func(*testing.T) { y.edit("shop/shop.go", "package shop\n", "package shop\n\n// changed\n") }, "changed: shop/shop.go", pipeline.Commit},
		{"a source of a library", func(*testing.T) { y.edit("money/money.go", "package money\n", "package money\n\n// changed\n") }, "changed: money/money.go", pipeline.Commit},
		{"an embedded file", func(*testing.T) { y.write("shop/greeting.txt", "hello  ") }, "changed: shop/greeting.txt", pipeline.Commit},
		{"a test", func(*testing.T) { y.edit("shop/shop_test.go", "package shop\n", "package shop\n\n// changed\n") }, "changed: shop/shop_test.go", pipeline.Commit},
		{"data of a test", func(*testing.T) { y.write("shop/testdata/want.txt", "hello\n\n") }, "changed: shop/testdata/want.txt", pipeline.Commit},
		{"a new file", func(*testing.T) { y.write("shop/more.go", "package shop\n") }, "new: shop/more.go", pipeline.Commit},
		{"a file that is gone", func(*testing.T) { y.remove("money/money_test.go") }, "gone: money/money_test.go", pipeline.Commit},
		{"go.mod", func(*testing.T) { y.edit("go.mod", "go 1.26\n", "go 1.26.0\n") }, "changed: go.mod", pipeline.Commit},
		{"an allowed variable", func(*testing.T) { y.env = append(y.env, "GODEBUG=panicnil=0") }, "new: env GODEBUG", pipeline.Commit},
		{"a variable that is allowed by name", func(*testing.T) { y.env = append(y.env, "TOY_COLOUR=red", pipeline.Extra+"=TOY_COLOUR") }, "new: env TOY_COLOUR", pipeline.Commit},
		{"the version of go", func(t *testing.T) { y.env = append(y.env, "PATH="+otherGo(t)+":"+os.Getenv("PATH")) }, "go version", pipeline.Commit},
		{"a contract", func(*testing.T) { y.write("shop/contracts/web-shop.json", webShop) }, "shop/contracts/web-shop.json", pipeline.Component},
		{"the artefact on disk", func(t *testing.T) { y.spoil(t) }, "its artefact is gone or was changed", pipeline.Commit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			y.opts.Stages = []pipeline.Stage{pipeline.Commit}
			if tt.stage != pipeline.Commit {
				y.opts.Stages = append(y.opts.Stages, tt.stage)
			}
			tt.change(t)
			r := result(t, y.must("shop"), tt.stage)
			if r.Outcome != pipeline.Passed || !strings.Contains(r.Why, tt.why) {
				t.Errorf("%s %s: %q; want it to run because of %q", r.Stage, r.Outcome, r.Why, tt.why)
			}
			unchanged(t)
		})
	}
	t.Run("a file that nothing is built from", func(t *testing.T) {
		y.write("README.md", "hello")
		y.edit("post/main.go", "func main() {}", "func main() { println() }")
		unchanged(t)
	})
	t.Run("a variable that is not allowed", func(t *testing.T) {
		y.env = append(y.env, "TOY_OTHER=1")
		unchanged(t)
	})
	t.Run("unless one asks for it", func(t *testing.T) {
		y.opts.Force = true
		defer func() { y.opts.Force = false }()
		if r := result(t, y.must("shop"), pipeline.Commit); r.Outcome != pipeline.Passed || r.Why != "asked to run again" {
			t.Errorf("%s: %s", r.Outcome, r.Why)
		}
	})
}

const webShop = `{"consumer": {"name": "web"}, "provider": {"name": "shop"}, "metadata": {"pactSpecification": {"version": "4.0"}},
"interactions": [{"type": "Synchronous/HTTP", "description": "a greeting", "request": {"method": "GET", "path": "/"}, "response": {"status": 200}},
{"type": "Synchronous/Messages", "description": "an order", "request": {"contents": {"content": "x"}}, "response": [{"contents": {"content": "y"}}]}]}`

// otherGo returns a folder with a go that says it is of another version.
func otherGo(t *testing.T) string {
	real, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = env ] && %[1]s \"$@\" | sed s/^go1/go9/ && exit\nexec %[1]s \"$@\"\n", real)
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// spoil changes a kept artefact.
func (y *toy) spoil(t *testing.T) {
	digest := result(t, y.must("shop"), pipeline.Commit).Artifact
	f, err := os.OpenFile(filepath.Join(y.dir, ".cleave/pipeline/artifacts", digest), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("!"); err != nil {
		t.Fatal(err)
	}
}

func TestAFailureIsNotKept(t *testing.T) {
	y := newToy(t)
	y.opts.Stages = []pipeline.Stage{pipeline.Commit}
	y.write("shop/greeting.txt", "bye")
	for _, why := range []string{"it never ran here", "it failed last time"} {
		report, err := y.run("shop")
		if r := result(t, report, pipeline.Commit); err == nil || r.Outcome != pipeline.Failed || r.Why != why {
			t.Errorf("%s: %q, %v; want it failed: %q", r.Outcome, r.Why, err, why)
		}
	}
	y.write("shop/greeting.txt", "hello")
	if r := result(t, y.must("shop"), pipeline.Commit); r.Outcome != pipeline.Passed || r.Why != "changed: shop/greeting.txt" {
		t.Errorf("%s: %s", r.Outcome, r.Why)
	}
}
