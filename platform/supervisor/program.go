package supervisor

import (
	"fmt"
	"os"
	"slices"
	"strconv"

	"github.com/cleave-go/cleave/platform/manifest"
	"github.com/cleave-go/cleave/platform/supervisor/lifecycle"
)

// program is a service, several in one process, or a role.
type program struct {
	sup  *Supervisor
	spec manifest.Program
	role bool
	at   string        // where a role is called
	op   chan struct{} // holds one token: whoever has it may change the program

	// Guarded by sup.mu.
	art       artifact
	replicas  int
	busy      string
	problem   string
	instances []*instance // that are not final, and the last failed one
}

// BusyError says that somebody else is changing the program.
type BusyError struct{ Program, With string }

func (e *BusyError) Error() string {
	return fmt.Sprintf("%s is busy %s; try again when that is done", e.Program, e.With)
}

// claim makes the caller the only one to change the program, until release.
func (p *program) claim(what string) (release func(), err error) {
	p.sup.mu.Lock()
	busy, up := p.busy, p.sup.up
	p.sup.mu.Unlock()
	if !up {
		return nil, &BusyError{p.sup.sys.Name, "starting"}
	}
	select {
	case <-p.op:
	default:
		return nil, &BusyError{p.spec.Name, busy}
	}
	p.sup.update(func() { p.busy = what })
	return func() {
		p.sup.update(func() { p.busy = "" })
		p.op <- struct{}{}
	}, nil
}

// self reports whether the program registers itself, says when it is ready, and
// takes over sockets: what the kit does.
func (p *program) self(a artifact) bool {
	return p.spec.Register == manifest.RegisterSelf || (p.spec.Register == manifest.RegisterAuto && a.kit)
}

// speaks reports whether only the program's own word makes it ready.
func (p *program) speaks(a artifact) bool { return p.role || p.self(a) }

// registered reports whether the supervisor registers the program.
func (p *program) registered(a artifact) bool {
	return !p.role && !p.self(a) && p.spec.Register != manifest.RegisterNone
}

// fixed returns the address that the program opens by itself, or "".
func (p *program) fixed(a artifact) string {
	if p.role || p.self(a) {
		return ""
	}
	for _, h := range p.spec.Hosts {
		if h.Listen != "" {
			return h.Listen
		}
	}
	return ""
}

// exclusive reports whether two instances cannot run side by side.
func (p *program) exclusive(a artifact) bool { return p.role || p.fixed(a) != "" }

// socketFiles returns a copy of each socket that instances inherit.
func (p *program) socketFiles(a artifact) (files []*os.File, names []string, err error) {
	if p.role || !p.self(a) {
		return nil, nil, nil
	}
	for _, h := range p.spec.Hosts {
		if h.Listen == "" {
			continue
		}
		if err := p.sup.sockets.hold(h.Listen, h.Service); err != nil {
			return files, names, err
		}
		f, err := p.sup.sockets.file(h.Listen)
		if err != nil {
			return files, names, err
		}
		files, names = append(files, f), append(names, h.Service)
	}
	return files, names, nil
}

// add makes a new instance of the artifact; Launch starts it. The caller has
// claimed the program.
func (p *program) add(a artifact, policy lifecycle.Policy) (*instance, error) {
	i := &instance{
		sup: p.sup, prog: p, policy: policy, art: a, next: a, fixed: p.fixed(a),
		state:  lifecycle.State{Phase: lifecycle.Pending},
		events: make(chan lifecycle.Event, 64), done: make(chan struct{}),
	}
	if !p.role {
		var err error
		if i.fixed == "" && p.spec.Register != manifest.RegisterNone {
			if i.port, err = p.sup.ports.take(); err != nil {
				return nil, err
			}
		}
		if p.self(a) {
			if i.adminPort, err = p.sup.ports.take(); err != nil {
				return nil, err
			}
		}
	}
	p.enlist(i)
	return i, nil
}

// enlist names the instance, unless it has a name, and sets it going.
func (p *program) enlist(i *instance) {
	p.sup.update(func() {
		p.instances = slices.DeleteFunc(p.instances, func(o *instance) bool { return o.state.Final() })
		for n := 1; i.id == ""; n++ {
			id := p.spec.Name + "-" + strconv.Itoa(n)
			if p.role {
				id = p.spec.Name
			}
			if !slices.ContainsFunc(p.instances, func(o *instance) bool { return o.id == id }) {
				i.id = id
			}
		}
		p.instances = append(p.instances, i)
	})
	p.sup.wg.Go(i.run)
}

// forget removes a final instance from the list.
func (p *program) forget(i *instance) {
	p.sup.update(func() {
		p.instances = slices.DeleteFunc(p.instances, func(o *instance) bool { return o == i })
	})
}

// live returns the instances that are not final, oldest first.
func (p *program) live() []*instance {
	p.sup.mu.Lock()
	defer p.sup.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.instances), func(i *instance) bool { return i.state.Final() })
}
