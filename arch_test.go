package cleave_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const modulePath = "github.com/cleave-go/cleave"

// rule says what packages may import of this module, and why no more. A
// trailing /... covers what lies below. The first rule that fits decides.
type rule struct {
	packages string
	imports  []string // of this module; "std": nothing beyond the standard library either
	why      string
}

var rules = []rule{
	{"event/...", []string{"std"}, "events are the vocabulary of every service; they bring nothing along"},
	{"breaker/...", []string{"std"}, "usable alone: go get of one pattern brings no other"},
	{"retry/...", []string{"std"}, "usable alone: go get of one pattern brings no other"},
	{"limit/...", []string{"std"}, "usable alone: go get of one pattern brings no other"},
	{"auth/...", nil, "who calls is checked the same way everywhere, below every pattern"},
	{"discovery/...", nil, "clients look up without knowing how they call"},
	{"sqldb/...", nil, "the database knows no pattern"},
	{"internal/paritytest", []string{"event", "discovery", "rpi", "rpi/...", "internal/..."}, "one table for every way to call, run by the tests of rpi and of conformance"},
	{"internal/...", []string{"event", "eventsource", "sqldb", "internal/..."}, "leaves only"},
	{"bus/...", []string{"event", "event/cloudevents", "sqldb", "internal/...", "bus/..."}, "the bus carries records; it does not know who makes them"},
	{"eventsource/...", []string{"event", "event/eventtest", "sqldb", "internal/...", "eventsource/..."}, "an aggregate knows its store and no transport"},
	{"outbox/...", []string{"event", "sqldb", "internal/...", "eventsource", "bus", "outbox/..."}, "the outbox joins the table and the bus and nothing else"},
	{"projection/...", []string{"event", "sqldb", "internal/...", "eventsource", "bus", "projection/..."}, "a view follows events, whoever sends them"},
	{"saga/...", []string{"event", "sqldb", "internal/...", "eventsource", "bus", "outbox", "saga/..."}, "a saga speaks by messages only"},
	{"rpi/...", []string{"event", "auth", "breaker", "retry", "limit", "discovery", "internal/...", "rpi/..."}, "calls know nothing of gateways or stores"},
	{"compose/...", nil, "composition is a plan over functions"},
	{"graphql/...", []string{"compose", "rpi", "event", "bus", "auth", "graphql/...", "internal/..."}, "a graph is compiled to a plan of calls"},
	{"gateway/...", []string{"graphql", "compose", "limit", "rpi", "discovery", "auth", "event", "internal/..."}, "the door knows what stands behind it, not the reverse"},
	{"contract/...", []string{"event", "internal/...", "contract/..."}, "a contract is about messages, not about who carries them"},
	{"service/...", []string{"rpi", "rpi/grpcwire", "limit", "discovery", "discovery/...", "bus", "bus/membus", "bus/natsbus", "outbox", "eventsource", "sqldb", "event", "auth", "internal/..."}, "the chassis composes; it owns no pattern"},
	{"docs", nil, "guides; their code is in examples"},
	{".", nil, "the root is the map"},
}

// requirements are all that the light root module may require, with the reason.
var requirements = map[string]string{
	"connectrpc.com/connect/v2":                 "rpi: three protocols over net/http",
	"google.golang.org/protobuf":                "rpi, graphql: messages and their descriptors",
	"google.golang.org/genproto/googleapis/rpc": "rpi: the standard error details on the wire",
	"github.com/nats-io/nats.go":                "bus/natsbus: the client",
	"github.com/vektah/gqlparser/v2":            "graphql: parser and validator",
	"github.com/go-jose/go-jose/v4":             "auth: signatures and key sets",
	"golang.org/x/net":                          "rpi/grpcwire: HPACK, and nothing else of it",
	"go.opentelemetry.io/otel":                  "rpi, service, gateway: the API only",
	"go.opentelemetry.io/otel/metric":           "the API only",
	"go.opentelemetry.io/otel/trace":            "the API only",
}

type goPackage struct {
	ImportPath, Name, Doc string
	Imports, Deps         []string
}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	for _, p := range packages(t) {
		name := relative(p.ImportPath)
		r := ruleFor(name)
		if r == nil {
			t.Errorf("%s has no rule; add one to arch_test.go with its reason", name)
			continue
		}
		for _, i := range p.Imports {
			switch {
			case i == modulePath || strings.HasPrefix(i, modulePath+"/"):
				if to := relative(i); !within(r.packages, to) && !slices.ContainsFunc(r.imports, func(a string) bool { return within(a, to) }) {
					t.Errorf("%s imports %s: %s", name, to, r.why)
				}
			case slices.Contains(r.imports, "std") && strings.Contains(strings.SplitN(i, "/", 2)[0], "."):
				t.Errorf("%s imports %s: %s", name, i, r.why)
			}
		}
	}
}

func TestOnlyTestPackagesImportTesting(t *testing.T) {
	for _, p := range packages(t) {
		if name := relative(p.ImportPath); !strings.HasSuffix(name, "test") && slices.Contains(p.Deps, "testing") {
			t.Errorf("%s depends on testing, which would land in the programs that use it", name)
		}
	}
}

func TestStandardLibraryPackagesStayThat(t *testing.T) {
	for _, p := range packages(t) {
		name := relative(p.ImportPath)
		r := ruleFor(name)
		if r == nil || !slices.Contains(r.imports, "std") {
			continue
		}
		for _, d := range p.Deps {
			if strings.Contains(strings.SplitN(d, "/", 2)[0], ".") && d != modulePath && !within(r.packages, relative(d)) {
				t.Errorf("%s depends on %s: %s", name, d, r.why)
			}
		}
	}
}

func TestEveryPackageIsDocumentedAndOnTheMap(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range packages(t) {
		name := relative(p.ImportPath)
		if want := "Package " + p.Name; !strings.HasPrefix(p.Doc, want+" ") {
			t.Errorf("the package comment of %s begins %q, want %q", name, p.Doc, want)
		}
		if name != "." && !strings.Contains(name, "internal") && !strings.Contains(string(readme), "]("+name+"/") && !strings.Contains(string(readme), "]("+name+")") {
			t.Errorf("the README's map has no link to %s", name)
		}
	}
}

func TestRootRequiresOnlyWhatItMust(t *testing.T) {
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
		Replace []struct{ Old struct{ Path string } }
	}
	for _, dir := range []string{".", "kit", "platform"} {
		out, err := exec.Command("go", "mod", "edit", "-json", filepath.Join(dir, "go.mod")).Output()
		if err != nil {
			t.Fatal(err)
		}
		mod.Require, mod.Replace = nil, nil
		if err := json.Unmarshal(out, &mod); err != nil {
			t.Fatal(err)
		}
		for _, r := range mod.Replace {
			t.Errorf("%s/go.mod replaces %s: go install refuses a module with replaces", dir, r.Old.Path)
		}
		if dir != "." {
			continue
		}
		for _, r := range mod.Require {
			if requirements[r.Path] == "" && !r.Indirect {
				t.Errorf("the root requires %s, which forces its version on every user; add it to requirements with the reason, or do without", r.Path)
			}
		}
	}
}

func ruleFor(name string) *rule {
	for i, r := range rules {
		if within(r.packages, name) {
			return &rules[i]
		}
	}
	return nil
}

func within(pattern, name string) bool {
	prefix, deep := strings.CutSuffix(pattern, "/...")
	return name == prefix || deep && strings.HasPrefix(name, prefix+"/")
}

func relative(importPath string) string {
	if importPath == modulePath {
		return "."
	}
	return strings.TrimPrefix(importPath, modulePath+"/")
}

// packages lists the root module. It opens every source file first: the test
// cache knows the files that a test opens, not those that go list reads for it.
func packages(t *testing.T) []goPackage {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" && d.Name() != "go.mod" {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return f.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", "list", "-json=ImportPath,Name,Doc,Imports,Deps", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var list []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}
