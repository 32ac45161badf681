package pipeline_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/platform/pipeline"
)

func staged(t *testing.T) *toy {
	y := newToy(t)
	y.opts.Stages, y.opts.Staged = []pipeline.Stage{pipeline.PreCommit}, true
	return y
}

func TestPreCommitJudgesTheIndexAndNotTheWorkingTree(t *testing.T) {
	stage := func(y *toy) {
		y.edit("shop/shop.go", "package shop\n", "package shop\n\n// staged\n")
		y.git("add", "-A")
	}
	tests := []struct {
		name    string
		arrange func(y *toy)
		want    pipeline.Outcome
	}{
		{"nothing staged", func(y *toy) { y.write("shop/shop.go", "broken") }, pipeline.Skipped},
		{"a broken edit that is not staged", func(y *toy) { stage(y); y.write("shop/shop.go", "broken") }, pipeline.Passed},
		{"a broken file that is not staged", func(y *toy) { stage(y); y.write("shop/new.go", "broken") }, pipeline.Passed},
		{"broken data that is not staged", func(y *toy) { stage(y); y.write("shop/testdata/want.txt", "bye") }, pipeline.Passed},
		{"a broken embedded file that is not staged", func(y *toy) { stage(y); y.write("shop/greeting.txt", "bye") }, pipeline.Passed},
		{"a file removed but not from the index", func(y *toy) { stage(y); y.remove("money/money.go") }, pipeline.Passed},
		{"a broken go.mod that is not staged", func(y *toy) { stage(y); y.write("go.mod", "broken") }, pipeline.Passed},
		{"a staged mistake that is mended in the working tree only", func(y *toy) {
			y.edit("money/money.go", "Sprint(cents)", "Sprint(cents + 1)")
			y.git("add", "-A")
			y.edit("money/money.go", "Sprint(cents + 1)", "Sprint(cents)")
		}, pipeline.Failed},
		{"a file that is used but not staged", func(y *toy) {
			y.edit("shop/shop.go", "money.Text(100)", "more()")
			y.edit("shop/shop.go", "\n\n\t\"toy/money\"", "")
			y.git("add", "-A")
			y.write("shop/more.go", "package shop\n\nfunc more() string { return \"\" }\n")
		}, pipeline.Failed},
		{"staged data that makes a test fail, mended in the working tree only", func(y *toy) {
			y.write("shop/testdata/want.txt", "bye\n")
			y.git("add", "-A")
			y.write("shop/testdata/want.txt", "hello\n")
		}, pipeline.Failed},
		{"a staged file that is not formatted, mended in the working tree only", func(y *toy) {
			y.write("shop/wide.go", "package   shop\n")
			y.git("add", "-A")
			y.write("shop/wide.go", "package shop\n")
		}, pipeline.Failed},
		{"a removal that breaks a dependent package", func(y *toy) { y.git("rm", "-q", "--cached", "money/money.go") }, pipeline.Failed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			y := staged(t)
			tt.arrange(y)
			report, err := y.run()
			if r := result(t, report, pipeline.PreCommit); r.Outcome != tt.want {
				t.Errorf("%s (%s), %v; want %s", r.Outcome, r.Why, err, tt.want)
			}
		})
	}
}

func TestPreCommitTakesWhatTheChangeAffects(t *testing.T) {
	y := newToy(t)
	y.opts.Stages = []pipeline.Stage{pipeline.PreCommit}
	tests := []struct{ name, file, text, want string }{
		{"a library and those built from it", "money/more.go", "package money\n", "toy/money toy/shop toy/shop/cmd/shopd"},
		{"data of a test", "shop/testdata/more.txt", "", "toy/shop toy/shop/cmd/shopd"},
		{"one program", "post/more.go", "package main\n", "toy/post"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			y.write(tt.file, tt.text)
			defer y.remove(tt.file)
			steps := result(t, y.must(), pipeline.PreCommit).Steps
			if got := steps[len(steps)-1].Command; !strings.HasSuffix(got, " Integration|Contract "+tt.want) {
				t.Errorf("ran %s, want it for %s", got, tt.want)
			}
		})
	}
}

// TestTheVerdictIsThatOfACleanCheckout makes changes at random, some staged,
// and compares.
func TestTheVerdictIsThatOfACleanCheckout(t *testing.T) {
	y := staged(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	texts := map[string][]string{
		"money/money.go":         {toyFiles["money/money.go"], "package money\n\nfunc Text(int) string { return \"100\" }\n", "package money\n\nfunc Text(int) string { return \"\" }\n", ""},
		"shop/greeting.txt":      {"hello ", "bye ", ""},
		"shop/testdata/want.txt": {"hello\n", "bye\n", ""},
		"shop/more.go":           {"package shop\n", "package   shop\n", "package shops\n", ""},
	}
	for round := range 6 {
		for _, staged := range []bool{true, false} {
			for name, list := range texts {
				if rnd.IntN(2) == 0 {
					continue
				}
				if text := list[rnd.IntN(len(list))]; text != "" {
					y.write(name, text)
				} else {
					os.Remove(filepath.Join(y.dir, name))
				}
			}
			if staged {
				y.git("add", "-A")
			}
		}
		report, err := y.run()
		got := result(t, report, pipeline.PreCommit)
		if got.Outcome == pipeline.Skipped {
			continue
		}
		if want := y.checkout(t, fmt.Sprint(round)); want != (err == nil) {
			t.Errorf("round %d: %v, but a clean checkout passes: %v", round, err, want)
		}
	}
}

// checkout tells whether a clean copy of the index passes.
func (y *toy) checkout(t *testing.T, name string) bool {
	dir := filepath.Join(t.TempDir(), name)
	y.git("checkout-index", "-a", "--prefix="+dir+"/")
	for _, script := range []string{`test -z "$(git -C "$1" diff --cached --name-only --diff-filter=d HEAD -- '*.go' | xargs -r gofmt -l)"`, "go vet ./...", "go test -skip Integration ./..."} {
		cmd := exec.Command("sh", "-c", script, "sh", y.dir)
		cmd.Dir, cmd.Env = dir, y.env
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Logf("%s: %s", script, out)
			return false
		}
	}
	return true
}
