package manifest_test

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/platform/manifest"
)

const shop = `
system: shop
env: {LOG: debug}
services:
  order:   {run: ./order/cmd/orderd, env: {N: 3}}
  kitchen: {run: ./kitchen/cmd/kitchend, replicas: 2}
  web:     {run: ./web/cmd/webd, listen: 127.0.0.1:8080}
  ratings: {run: python3 -u 'my ratings.py' $PORT, register: supervisor}
  worker:  {run: [sh, -c, "sleep 5; echo $X"], register: none}
topologies:
  monolith: {run: ./cmd/shop}
  mix: {run: ./cmd/shop, apart: [kitchen]}
`

func TestAFileIsReadIntoServicesAndTopologies(t *testing.T) {
	s, err := manifest.Parse([]byte(shop))
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "shop" || len(s.Services) != 5 || len(s.Topologies) != 3 {
		t.Fatalf("got %+v", s)
	}
	ratings, _ := s.Service("ratings")
	if want := []string{"python3", "-u", "my ratings.py", "$PORT"}; !reflect.DeepEqual(ratings.Run.Command, want) || !ratings.Run.Expand {
		t.Errorf("ratings runs %q, want %q", ratings.Run.Command, want)
	}
	worker, _ := s.Service("worker")
	if worker.Run.Expand || len(worker.Run.Command) != 3 {
		t.Errorf("a list is taken word by word, got %+v", worker.Run)
	}
}

func TestATopologyDecidesWhichProgramsRun(t *testing.T) {
	s, err := manifest.Parse([]byte(shop))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		topology string
		want     map[string]string
	}{
		{"", map[string]string{"order": "order", "kitchen": "kitchen", "web": "web", "ratings": "ratings", "worker": "worker"}},
		{"monolith", map[string]string{"shop": "order kitchen web", "ratings": "ratings", "worker": "worker"}},
		{"mix", map[string]string{"shop": "order web", "kitchen": "kitchen", "ratings": "ratings", "worker": "worker"}},
	} {
		programs, err := s.Plan(c.topology)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, p := range programs {
			got[p.Name] = strings.Join(p.Services(), " ")
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: got %v, want %v", c.topology, got, c.want)
		}
	}
	programs, _ := s.Plan("monolith")
	if p := programs[0]; p.Env["LOG"] != "debug" || p.Env["N"] != "3" || p.Hosts[2].Listen != "127.0.0.1:8080" {
		t.Errorf("the hosting program gets the environment and addresses of what it hosts, got %+v", p)
	}
	if _, err := s.Plan("cluster"); err == nil || !strings.Contains(err.Error(), "services, monolith, mix") {
		t.Errorf("an unknown topology names the known ones, got %v", err)
	}
}

func TestAMistakeIsReportedWithLineAndField(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"empty file", "", "cleave.yaml: is empty"},
		{"not YAML", "system: [", "cleave.yaml: is not YAML"},
		{"a list", "- a", "cleave.yaml:1: is a list"},
		{"no system", "services: {a: {run: ./a}}", "cleave.yaml:1: system: is missing"},
		{"no services", "system: x", "cleave.yaml:1: services: is missing"},
		{"empty services", "system: x\nservices: {}", "cleave.yaml:2: services: is empty"},
		{"unknown field", "system: x\nservices:\n  a:\n    run: ./a\n    replica: 2", "cleave.yaml:5: services.a.replica: is not known here; known are env, listen, register, replicas, run"},
		{"repeated service", "system: x\nservices:\n  a: {run: ./a}\n  a: {run: ./b}", "cleave.yaml:4: services.a: is there already on line 3"},
		{"no run", "system: x\nservices:\n  a: {}", "cleave.yaml:3: services.a.run: is missing"},
		{"empty run", "system: x\nservices:\n  a: {run: ''}", "cleave.yaml:3: services.a.run: is empty"},
		{"shell", "system: x\nservices:\n  a: {run: a | b}", "services.a.run: has '|', but no shell"},
		{"open quote", "system: x\nservices:\n  a: {run: 'a \"b'}", "has an unclosed \""},
		{"replicas text", "system: x\nservices:\n  a: {run: ./a, replicas: two}", "cleave.yaml:3: services.a.replicas: is two; it must be a whole number from 0 to 32"},
		{"replicas negative", "system: x\nservices:\n  a: {run: ./a, replicas: -1}", "services.a.replicas: is -1"},
		{"bad name", "system: x\nservices:\n  A_b: {run: ./a}", "cleave.yaml:3: services.A_b: \"A_b\" is not a name"},
		{"name of a role", "system: x\nservices:\n  registry: {run: ./a}", "cleave.yaml:3: services.registry: \"registry\" is the name of a role of cleave itself"},
		{"bad system", "system: 3\nservices:\n  a: {run: ./a}", "cleave.yaml:1: system: is the number 3"},
		{"listen without host", "system: x\nservices:\n  a: {run: ./a, listen: ':80'}", "services.a.listen: \":80\" names no IP address"},
		{"listen without port", "system: x\nservices:\n  a: {run: ./a, listen: 127.0.0.1}", "services.a.listen: \"127.0.0.1\" is not an address"},
		{"listen port too high", "system: x\nservices:\n  a: {run: ./a, listen: '127.0.0.1:70000'}", "has no port from 1 to 65535"},
		{"listen twice", "system: x\nservices:\n  a: {run: ./a, listen: '127.0.0.1:80'}\n  b: {run: ./b, listen: '127.0.0.1:80'}", "cleave.yaml:4: services.b.listen: 127.0.0.1:80 is taken by service \"a\""},
		{"register", "system: x\nservices:\n  a: {run: ./a, register: me}", "services.a.register: is \"me\""},
		{"env name", "system: x\nservices:\n  a: {run: ./a, env: {'a-b': 1}}", "services.a.env.a-b: is not a variable's name"},
		{"env list", "system: x\nservices:\n  a: {run: ./a, env: {A: [1]}}", "services.a.env.A: is a list"},
		{"apart unknown", "system: x\nservices:\n  a: {run: ./a}\ntopologies:\n  mix: {run: ./c, apart: [z]}", "cleave.yaml:5: topologies.mix.apart: there is no service \"z\""},
		{"apart without run", "system: x\nservices:\n  a: {run: ./a}\ntopologies:\n  mix: {apart: [a]}", "topologies.mix.apart: needs run"},
		{"services with run", "system: x\nservices:\n  a: {run: ./a}\ntopologies:\n  services: {run: ./c}", "topologies.services.run: is a process per service by definition"},
		{"clashing env", "system: x\nservices:\n  a: {run: ./a, env: {K: 1}}\n  b: {run: ./b, env: {K: 2}}\ntopologies:\n  mono: {run: ./c}", "cleave.yaml:6: topologies.mono: env K differs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := manifest.Parse([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			var p *manifest.Problem
			if !errors.As(err, &p) {
				t.Errorf("error is no Problem: %T", err)
			}
		})
	}
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	_, err := manifest.Parse([]byte("system: x\nfoo: 1\nservices:\n  a: {run: 1}\n  b: {}\n"))
	if err == nil || strings.Count(err.Error(), "cleave.yaml:") != 3 {
		t.Errorf("got %v", err)
	}
}

func TestFindLooksUpwards(t *testing.T) {
	dir := t.TempDir()
	deep := filepath.Join(dir, "a", "b")
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := manifest.Find(deep); !errors.Is(err, manifest.ErrNotFound) {
		t.Errorf("got %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, manifest.FileName), []byte(shop), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := manifest.Find(deep); err != nil || got != dir {
		t.Errorf("got %q, %v", got, err)
	}
	if s, err := manifest.Load(dir); err != nil || s.Dir != dir {
		t.Errorf("got %+v, %v", s, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(shop))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := manifest.Parse(data)
		if err == nil && (s.Name == "" || len(s.Services) == 0) {
			t.Errorf("accepted an unusable system %+v", s)
		}
	})
}
