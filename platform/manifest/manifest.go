package manifest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// FileName is the name of the file that describes a system.
const FileName = "cleave.yaml"

// Bounds of a file.
const (
	MaxBytes    = 1 << 20
	MaxServices = 200
	MaxReplicas = 32
)

// DefaultTopology is the topology of a process per service.
const DefaultTopology = "services"

// System is one checked cleave.yaml.
type System struct {
	Name       string
	Dir        string            // the folder of the file; empty after Parse
	Env        map[string]string // given to every program
	Services   []Service         // in the order of the file
	Topologies []Topology        // in the order of the file; "services" is always among them
}

// Service is one entry below services.
type Service struct {
	Name     string
	Run      Run
	Listen   string // a fixed host:port; empty: the supervisor chooses
	Replicas int
	Env      map[string]string
	Register Registrar
}

// Registrar says who tells the registry about a program's instances.
type Registrar string

// The registrars.
const (
	// RegisterAuto leaves it to the program when it is linked with the kit, and
	// to the supervisor otherwise.
	RegisterAuto Registrar = ""
	// RegisterSelf leaves it to the program.
	RegisterSelf Registrar = "self"
	// RegisterSupervisor leaves it to the supervisor.
	RegisterSupervisor Registrar = "supervisor"
	// RegisterNone is for a program that listens on nothing.
	RegisterNone Registrar = "none"
)

// Run says what to start: a Go package or a command.
type Run struct {
	Package string   // like ./order/cmd/orderd; empty for a command
	Command []string // program and arguments; nil for a package
	Expand  bool     // whether $NAME in the arguments stands for a variable of the program's environment
}

// String returns the package or the command as one line.
func (r Run) String() string {
	if r.Package != "" {
		return r.Package
	}
	return strings.Join(r.Command, " ")
}

// Topology is one way of cutting the system into processes.
type Topology struct {
	Name  string
	Run   *Run     // the program that hosts the services; nil: each runs by itself
	Apart []string // services that run by themselves although Run could host them
}

// Problem is one thing wrong with a file.
type Problem struct {
	File  string
	Line  int    // 0 when no line is to blame
	Field string // like services.order.replicas; empty for the file as a whole
	Text  string
}

// Error returns "file:line: field: text".
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.File)
	if p.Line > 0 {
		fmt.Fprintf(&b, ":%d", p.Line)
	}
	b.WriteString(": ")
	if p.Field != "" {
		b.WriteString(p.Field + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// ErrNotFound is what Find and Load return when there is no cleave.yaml.
var ErrNotFound = errors.New("no " + FileName)

// Roles are the names of cleave's own programs, which no service can have.
func Roles() []string { return []string{"registry", "broker", "dashboard"} }

// Find returns the nearest folder that has a cleave.yaml: dir or one above it.
func Find(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for d := abs; ; d = filepath.Dir(d) {
		if info, err := os.Stat(filepath.Join(d, FileName)); err == nil && info.Mode().IsRegular() {
			return d, nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("%s: %w here or in a folder above; name the folder that has it", abs, ErrNotFound)
		}
	}
}

// Load reads and checks dir/cleave.yaml. What is wrong with the file comes back
// as one error that wraps a [*Problem] for each mistake.
func Load(dir string) (*System, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(filepath.Join(abs, FileName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w; write one, or name the folder that has it", abs, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	s, err := Parse(data)
	if err != nil {
		return nil, err
	}
	s.Dir = abs
	return s, nil
}

// Service returns the service of that name.
func (s *System) Service(name string) (Service, bool) {
	i := slices.IndexFunc(s.Services, func(v Service) bool { return v.Name == name })
	if i < 0 {
		return Service{}, false
	}
	return s.Services[i], true
}

// Topology returns the topology of that name; "" means [DefaultTopology].
func (s *System) Topology(name string) (Topology, error) {
	if name == "" {
		name = DefaultTopology
	}
	names := make([]string, len(s.Topologies))
	for i, t := range s.Topologies {
		if t.Name == name {
			return t, nil
		}
		names[i] = t.Name
	}
	return Topology{}, fmt.Errorf("no topology %q; %s has %s", name, FileName, strings.Join(names, ", "))
}
