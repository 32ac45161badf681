package manifest

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

var (
	nameRule = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	envRule  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// Parse checks the text of a cleave.yaml. Its error wraps a [*Problem] for each
// mistake, at most ten.
func Parse(data []byte) (*System, error) {
	r := &reader{}
	if len(data) > MaxBytes {
		r.problem(0, "", "is larger than %d bytes", MaxBytes)
		return nil, r.err()
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		r.problem(0, "", "is not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
		return nil, r.err()
	}
	if len(doc.Content) == 0 {
		r.problem(0, "", "is empty; the smallest file names a system and one service")
		return nil, r.err()
	}
	s := r.system(doc.Content[0])
	if err := r.err(); err != nil {
		return nil, err
	}
	return s, nil
}

// reader walks the nodes of a file and collects what is wrong.
type reader struct{ problems []error }

func (r *reader) problem(line int, field, format string, args ...any) {
	if len(r.problems) < 10 {
		r.problems = append(r.problems, &Problem{File: FileName, Line: line, Field: field, Text: fmt.Sprintf(format, args...)})
	}
}

func (r *reader) err() error { return errors.Join(r.problems...) }

func (r *reader) system(n *yaml.Node) *System {
	s := &System{}
	seen := r.fields(n, "", map[string]func(string, *yaml.Node){
		"system":     func(f string, v *yaml.Node) { s.Name = r.name(f, v) },
		"env":        func(f string, v *yaml.Node) { s.Env = r.env(f, v) },
		"services":   func(f string, v *yaml.Node) { s.Services = r.services(f, v) },
		"topologies": func(f string, v *yaml.Node) { s.Topologies = r.topologies(f, v) },
	})
	if seen["system"] == 0 {
		r.problem(n.Line, "system", "is missing; give the system a name")
	}
	if seen["services"] == 0 {
		r.problem(n.Line, "services", "is missing; name at least one service")
	}
	if !slices.ContainsFunc(s.Topologies, func(t Topology) bool { return t.Name == DefaultTopology }) {
		s.Topologies = append([]Topology{{Name: DefaultTopology}}, s.Topologies...)
	}
	r.references(s, n)
	return s
}

// references checks what no single entry can know.
func (r *reader) references(s *System, n *yaml.Node) {
	line := func(path ...string) int { return lineOf(n, path...) }
	taken := map[string]string{}
	for _, v := range s.Services {
		if v.Listen == "" {
			continue
		}
		field := "services." + v.Name + ".listen"
		if other, ok := taken[v.Listen]; ok {
			r.problem(line("services", v.Name, "listen"), field, "%s is taken by service %q", v.Listen, other)
		}
		taken[v.Listen] = v.Name
	}
	for _, t := range s.Topologies {
		for _, a := range t.Apart {
			if _, ok := s.Service(a); !ok {
				r.problem(line("topologies", t.Name, "apart"), "topologies."+t.Name+".apart", "there is no service %q", a)
			}
		}
		if len(r.problems) == 0 {
			if _, err := s.Plan(t.Name); err != nil {
				r.problem(line("topologies", t.Name), "topologies."+t.Name, "%s", err)
			}
		}
	}
}

func (r *reader) services(field string, n *yaml.Node) []Service {
	var list []Service
	r.entries(field, n, func(f string, key, v *yaml.Node) {
		name := r.name(f, key)
		if slices.Contains(Roles(), name) {
			r.problem(key.Line, f, "%q is the name of a role of cleave itself; choose another", name)
		}
		list = append(list, r.service(f, name, v))
	})
	if len(list) == 0 && n.Kind == yaml.MappingNode {
		r.problem(n.Line, field, "is empty; name at least one service")
	}
	if len(list) > MaxServices {
		r.problem(n.Line, field, "has %d entries; at most %d", len(list), MaxServices)
	}
	return list
}

func (r *reader) service(field, name string, n *yaml.Node) Service {
	s := Service{Name: name, Replicas: 1}
	seen := r.fields(n, field, map[string]func(string, *yaml.Node){
		"run":      func(f string, v *yaml.Node) { s.Run = r.run(f, v) },
		"listen":   func(f string, v *yaml.Node) { s.Listen = r.listen(f, v) },
		"replicas": func(f string, v *yaml.Node) { s.Replicas = r.number(f, v, 0, MaxReplicas) },
		"env":      func(f string, v *yaml.Node) { s.Env = r.env(f, v) },
		"register": func(f string, v *yaml.Node) { s.Register = r.register(f, v) },
	})
	if seen["run"] == 0 {
		r.problem(n.Line, field+".run", "is missing; name a Go package like ./%s/cmd/%sd, or a command", name, name)
	}
	if s.Register == RegisterNone && s.Listen != "" {
		r.problem(n.Line, field+".register", "is none, but listen is given")
	}
	return s
}

func (r *reader) topologies(field string, n *yaml.Node) []Topology {
	var list []Topology
	r.entries(field, n, func(f string, key, v *yaml.Node) {
		t := Topology{Name: r.name(f, key)}
		if v.Tag != "!!null" {
			r.fields(v, f, map[string]func(string, *yaml.Node){
				"run": func(f string, v *yaml.Node) { run := r.run(f, v); t.Run = &run },
				"apart": func(f string, v *yaml.Node) {
					for _, a := range r.list(f, v) {
						t.Apart = append(t.Apart, r.text(f, a))
					}
				},
			})
		}
		if t.Run == nil && len(t.Apart) > 0 {
			r.problem(v.Line, f+".apart", "needs run beside it: without a program that hosts the services all run apart")
		}
		if t.Name == DefaultTopology && t.Run != nil {
			r.problem(v.Line, f+".run", "is a process per service by definition; give this topology another name")
		}
		list = append(list, t)
	})
	if len(list) > 50 {
		r.problem(n.Line, field, "has %d entries; at most 50", len(list))
	}
	return list
}

func (r *reader) run(field string, n *yaml.Node) Run {
	if n.Kind == yaml.SequenceNode {
		var run Run
		for _, v := range n.Content {
			run.Command = append(run.Command, r.text(field, v))
		}
		if len(run.Command) == 0 || run.Command[0] == "" {
			r.problem(n.Line, field, "is an empty list; the first element is the program")
		}
		return run
	}
	text := r.text(field, n)
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" {
		return Run{}
	}
	words, err := split(text)
	switch {
	case err != nil:
		r.problem(n.Line, field, "%s", err)
	case len(words) == 0:
		r.problem(n.Line, field, "is empty; name a Go package like ./cmd/orderd, or a command")
	case len(words) == 1 && isPackage(words[0]):
		return Run{Package: words[0]}
	}
	return Run{Command: words, Expand: true}
}

// isPackage tells ./cmd/orderd from ./serve.sh: the last element of a package's
// path has no dot.
func isPackage(word string) bool {
	if word != "." && !strings.HasPrefix(word, "./") && !strings.HasPrefix(word, "../") {
		return false
	}
	last := word[strings.LastIndexByte(word, '/')+1:]
	return word == "." || !strings.Contains(last, ".") || last == ".."
}

func (r *reader) listen(field string, n *yaml.Node) string {
	text := r.text(field, n)
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		r.problem(n.Line, field, "%q is not an address; write it like 127.0.0.1:8080", text)
		return ""
	}
	if net.ParseIP(host) == nil {
		r.problem(n.Line, field, "%q names no IP address; write 127.0.0.1 for this machine only, 0.0.0.0 to listen to everybody", text)
	}
	if p, err := strconv.ParseUint(port, 10, 16); err != nil || p == 0 {
		r.problem(n.Line, field, "%q has no port from 1 to 65535", text)
	}
	return text
}

func (r *reader) register(field string, n *yaml.Node) Registrar {
	v := Registrar(r.text(field, n))
	if v != RegisterSelf && v != RegisterSupervisor && v != RegisterNone {
		r.problem(n.Line, field, "is %q; it is one of self, supervisor, none", v)
	}
	return v
}

func (r *reader) env(field string, n *yaml.Node) map[string]string {
	env := map[string]string{}
	r.entries(field, n, func(f string, key, v *yaml.Node) {
		if !envRule.MatchString(key.Value) {
			r.problem(key.Line, f, "is not a variable's name")
		}
		env[key.Value] = r.scalar(f, v)
	})
	return env
}
