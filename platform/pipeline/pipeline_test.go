package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cleave-go/cleave/platform/pipeline"
)

// shelf is a running system that remembers what was deployed to it.
type shelf struct {
	version  string
	together []string
	deployed []string
	refuses  error
}

func (s *shelf) Running(context.Context, string) (string, []string, error) {
	if s.refuses == pipeline.ErrNotRunning {
		return "", nil, s.refuses
	}
	return s.version, s.together, nil
}

func (s *shelf) Deploy(_ context.Context, service, binary string, say func(string)) error {
	say("starting " + service + "-2")
	s.deployed = append(s.deployed, binary)
	return s.refuses
}

func TestTheLineGoesFromAChangeToTheRunningSystem(t *testing.T) {
	y := newToy(t)
	y.write("shop/contracts/web-shop.json", webShop)
	target := &shelf{version: "0123456789ab", together: []string{"shop"}}
	y.opts.Target = target
	report := y.must("shop")
	var got []string
	for _, r := range report.Results {
		for _, s := range r.Steps {
			got = append(got, string(r.Stage)+": "+s.Name)
		}
	}
	want := []string{
		"pre-commit: vet", "pre-commit: unit tests", "commit: build", "commit: unit tests", "commit: vet", "commit: artefact",
		"integration: integration tests", "component: neighbours", "component: start", "component: contracts", "component: stop",
		"deploy: rolling replacement",
	}
	if !slices.Equal(got, want) {
		t.Errorf("did %q\nwant %q", got, want)
	}
	digest := result(t, report, pipeline.Commit).Artifact
	if len(target.deployed) != 1 || !strings.HasSuffix(target.deployed[0], digest) || result(t, report, pipeline.Component).Artifact != digest {
		t.Errorf("deployed %q, want the artefact %s that was tested", target.deployed, digest)
	}
	target.version = digest[:12]
	if r := result(t, y.must("shop"), pipeline.Deploy); r.Outcome != pipeline.Unchanged || len(target.deployed) != 1 {
		t.Errorf("again: %s: %s, %d deployments", r.Outcome, r.Why, len(target.deployed))
	}
}

func TestAFailingStageStopsTheLineWithItsOutput(t *testing.T) {
	tests := []struct {
		name   string
		change func(y *toy)
		stage  pipeline.Stage
		step   string
		output string
	}{
		{"not formatted", func(y *toy) { y.write("shop/wide.go", "package   shop\n") }, pipeline.PreCommit, "gofmt", "shop/wide.go"},
		{"does not compile", func(y *toy) { y.edit("shop/shop.go", "money.Text(100)", "money.Txt(100)") }, pipeline.PreCommit, "vet", "undefined: money.Txt"},
		{"imports what is not there", func(y *toy) { y.edit("shop/shop.go", `"toy/money"`, `"toy/cash"`) }, pipeline.PreCommit, "go list", "toy/cash"},
		{"a test of a dependent package fails", func(y *toy) { y.edit("money/money.go", "Sprint(cents)", "Sprint(cents + 1)") }, pipeline.PreCommit, "unit tests", "money_test.go:7: 101"},
		{"an integration test fails", func(y *toy) { y.env = append(y.env, pipeline.Extra+"=TOY_FAILS", "TOY_FAILS=1") }, pipeline.Integration, "integration tests", "the shop is shut"},
		{"the program ends", func(y *toy) {
			y.edit("shop/cmd/shopd/main.go", "\tln, _ := net.Listen(", "\tprintln(\"no money\")\n\tos.Exit(3)\n\tln, _ := net.Listen(")
		}, pipeline.Component, "start", "no money"},
		{"the program does not listen", func(y *toy) {
			y.edit("shop/cmd/shopd/main.go", "ln, _ := net.Listen(\"tcp\", os.Getenv(\"CLEAVE_LISTEN\"))", "ln, _ := net.Listen(\"tcp\", \"127.0.0.1:0\")")
		}, pipeline.Component, "start", "not ready within"},
		{"a recorded call is not answered", func(y *toy) {
			y.write("shop/contracts/web-shop.json", webShop)
			y.edit("shop/cmd/shopd/main.go", "200 OK", "404 Not Found")
		}, pipeline.Component, "contracts", "web, a greeting: GET /: 404 Not Found"},
		{"the program ends badly", func(y *toy) { y.edit("shop/cmd/shopd/main.go", "\t<-ended\n", "\t<-ended\n\tos.Exit(4)\n") }, pipeline.Component, "stop", "exit status 4"},
		{"the program does not end", func(y *toy) { y.edit("shop/cmd/shopd/main.go", "\t<-ended\n", "\t<-ended\n\tselect {}\n") }, pipeline.Component, "stop", "still runs"},
		{"the new version is refused", func(y *toy) {
			y.opts.Target = &shelf{together: []string{"shop"}, refuses: errors.New("not ready; the old version goes on")}
		}, pipeline.Deploy, "rolling replacement", "the old version goes on"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			y := newToy(t)
			y.opts.Ready, y.opts.Stop = 4*time.Second, 2*time.Second
			tt.change(y)
			report, err := y.run("shop")
			var stopped *pipeline.StageError
			if !errors.As(err, &stopped) {
				t.Fatalf("got %v", err)
			}
			if stopped.Stage != tt.stage || stopped.Step.Name != tt.step || !strings.Contains(err.Error(), tt.output) {
				t.Errorf("got %v\nwant %s to fail in %s with %q", err, tt.stage, tt.step, tt.output)
			}
			if last := report.Results[len(report.Results)-1]; report.Passed || last.Stage != tt.stage || last.Outcome != pipeline.Failed {
				t.Errorf("the line went on to %s: %s", last.Stage, last.Outcome)
			}
		})
	}
}

func TestTheIntegrationStageAloneRunsItsTests(t *testing.T) {
	fails := "package %s\n\nimport \"testing\"\n\nfunc %s(t *testing.T) { t.Error(\"it ran\") }\n"
	tests := []struct{ name, file, test string }{
		{"by the name of the test", "shop/more_test.go", "TestBankIntegration"},
		{"by the name of the file", "shop/bank_contract_test.go", "TestBank"},
		{"by the folder", "shop/integration/bank_test.go", "TestBank"},
		{"by the build tag and the name", "shop/tagged_test.go", "TestIntegrationOfTheBank"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			y := newToy(t)
			y.opts.Stages = []pipeline.Stage{pipeline.PreCommit, pipeline.Commit, pipeline.Integration}
			text := fmt.Sprintf(fails, filepath.Base(filepath.Dir(tt.file)), tt.test)
			if strings.Contains(tt.file, "tagged") {
				text = "//go:build integration\n\n" + text
			}
			y.write(tt.file, text)
			_, err := y.run("shop")
			var stopped *pipeline.StageError
			if !errors.As(err, &stopped) || stopped.Stage != pipeline.Integration || !strings.Contains(stopped.Step.Output, "it ran") {
				t.Errorf("got %v, want the integration stage to run it and no other", err)
			}
		})
	}
}

func TestNeighboursAnswerAsTheirContractSays(t *testing.T) {
	y := newToy(t)
	y.opts.Stages = []pipeline.Stage{pipeline.Commit, pipeline.Component}
	bank := strings.NewReplacer(`"web"`, `"shop"`, `"name": "shop"`, `"name": "bank"`, `"path": "/"`, `"path": "/rate"`).Replace(webShop)
	y.write("bank/contracts/shop-bank.json", bank)
	steps := result(t, y.must("shop"), pipeline.Component).Steps
	if steps[0].Note != "by contract: bank" {
		t.Errorf("around it: %q", steps[0].Note)
	}
	y.write("bank/contracts/shop-bank.json", strings.Replace(bank, "/rate", "/quote", 1))
	if _, err := y.run("shop"); err == nil || !strings.Contains(err.Error(), "ended before it was ready: exit status 5") {
		t.Errorf("with a contract that lacks the call: %v", err)
	}
}

func TestDeployNeedsASystemAndEvidence(t *testing.T) {
	y := newToy(t)
	y.opts.Target = &shelf{refuses: pipeline.ErrNotRunning}
	y.opts.Stages = []pipeline.Stage{pipeline.Deploy}
	var need *pipeline.NeedError
	if _, err := y.run("shop"); !errors.As(err, &need) || need.Missing != pipeline.Commit {
		t.Errorf("before anything was built: %v", err)
	}
	y.opts.Stages = []pipeline.Stage{pipeline.Commit}
	y.must("shop")
	y.opts.Stages = []pipeline.Stage{pipeline.Deploy}
	if _, err := y.run("shop"); !errors.As(err, &need) || need.Missing != pipeline.Integration {
		t.Errorf("before it was tested: %v", err)
	}
	y.opts.Stages = nil
	if r := result(t, y.must("shop"), pipeline.Deploy); r.Outcome != pipeline.Skipped || r.Why != "the system is not up" {
		t.Errorf("the whole line: %s: %s", r.Outcome, r.Why)
	}
	y.opts.Stages = []pipeline.Stage{pipeline.Deploy}
	if _, err := y.run("shop"); !errors.Is(err, pipeline.ErrNotRunning) {
		t.Errorf("deploy alone: %v", err)
	}
	y.opts.Target = &shelf{version: "1", together: []string{"shop", "post"}}
	if _, err := y.run("shop"); err == nil || !strings.Contains(err.Error(), "shares its process with post") {
		t.Errorf("in a process with others: %v", err)
	}
}

func TestARunSaysWhatCannotBeAskedFor(t *testing.T) {
	y := newToy(t)
	tests := []struct {
		name    string
		service []string
		opts    pipeline.Options
		want    string
	}{
		{"an unknown service", []string{"shoe"}, pipeline.Options{}, `there is no service "shoe"; there are shop, post, old`},
		{"a command", []string{"old"}, pipeline.Options{}, `old runs the command "python3 old.py"`},
		{"an unknown stage", nil, pipeline.Options{Stages: []pipeline.Stage{"test"}}, `there is no stage "test"`},
		{"what is staged, built", nil, pipeline.Options{Staged: true}, "only pre-commit can judge what is staged"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			y.opts = tt.opts
			if _, err := y.run(tt.service...); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
