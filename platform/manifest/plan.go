package manifest

import (
	"fmt"
	"maps"
	"path"
	"slices"
)

// Program is one thing to run: a process, or several equal ones, that host one
// service or more.
type Program struct {
	Name     string
	Run      Run
	Hosts    []Hosted // in the order of the file, never empty
	Together bool     // whether the topology's program hosts several services
	Replicas int
	Env      map[string]string
	Register Registrar
}

// Hosted is a service within a program.
type Hosted struct {
	Service string
	Listen  string // its fixed address, or empty
}

// Services returns the names of the services the program hosts.
func (p Program) Services() []string {
	names := make([]string, len(p.Hosts))
	for i, h := range p.Hosts {
		names[i] = h.Service
	}
	return names
}

// Plan returns the programs of a topology ("" means [DefaultTopology]). A
// topology's program hosts every service that is a Go package and not apart; a
// service that is a command always runs by itself.
func (s *System) Plan(topology string) ([]Program, error) {
	t, err := s.Topology(topology)
	if err != nil {
		return nil, err
	}
	var together *Program
	var programs []Program
	for _, v := range s.Services {
		if t.Run == nil || v.Run.Package == "" || slices.Contains(t.Apart, v.Name) {
			programs = append(programs, Program{
				Name: v.Name, Run: v.Run, Hosts: []Hosted{{v.Name, v.Listen}},
				Replicas: v.Replicas, Env: merge(s.Env, v.Env), Register: v.Register,
			})
			continue
		}
		if together == nil {
			together = &Program{Name: s.hostName(*t.Run), Run: *t.Run, Together: true, Replicas: 1, Env: merge(s.Env, nil)}
		}
		together.Hosts = append(together.Hosts, Hosted{v.Name, v.Listen})
		for k, value := range v.Env {
			if old, ok := together.Env[k]; ok && old != value && s.Env[k] != old {
				return nil, fmt.Errorf("env %s differs between services that would share a process; keep %q apart", k, v.Name)
			}
			together.Env[k] = value
		}
	}
	if together != nil {
		programs = append([]Program{*together}, programs...)
	}
	return programs, nil
}

// hostName names the program that hosts several services after its package,
// unless a service or a role has that name.
func (s *System) hostName(r Run) string {
	name := s.Name
	if r.Package != "" {
		if base := path.Base(r.Package); nameRule.MatchString(base) {
			name = base
		}
	}
	if _, taken := s.Service(name); taken || slices.Contains(Roles(), name) {
		name += "-all"
	}
	return name
}

func merge(a, b map[string]string) map[string]string {
	m := maps.Clone(a)
	if m == nil {
		m = map[string]string{}
	}
	maps.Copy(m, b)
	return m
}
