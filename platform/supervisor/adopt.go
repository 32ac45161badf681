package supervisor

import (
	"time"

	"github.com/cleave-go/cleave/platform/supervisor/lifecycle"
)

// adopt takes over what a detached supervisor left running, when this one would
// run the same; anything else of it is ended.
func (s *Supervisor) adopt(old state) {
	same := old.PID != 0 && old.Detached && s.opts.Detached && old.Topology == s.opts.Topology && old.Offset == s.opts.PortOffset
	if same {
		for name, n := range old.Replicas {
			if p := s.find(name); p != nil && p.spec.Name == name {
				p.replicas = n
			}
		}
	}
	var ended []*process
	for _, o := range old.Instances {
		if !lives(o.PID, o.Birth) {
			continue
		}
		proc := &process{pid: o.PID, birth: o.Birth}
		p := s.find(o.Program)
		if !same || !o.Ready || p == nil || p.spec.Name != o.Program || len(p.live()) >= p.replicas {
			ended = append(ended, proc)
			continue
		}
		s.take(p, o, proc)
	}
	finish(ended)
}

func (s *Supervisor) take(p *program, o instanceState, proc *process) {
	art := artifact{path: o.Binary, version: o.Version, kit: o.Kit}
	i := &instance{
		sup: s, prog: p, id: o.ID, policy: s.opts.Policy, art: art, next: art, fixed: p.fixed(art),
		port: o.Port, adminPort: o.AdminPort, sockets: o.Sockets, proc: proc, since: time.Now(),
		state:  lifecycle.State{Phase: lifecycle.Pending},
		events: make(chan lifecycle.Event, 64), done: make(chan struct{}),
	}
	for _, port := range []int{o.Port, o.AdminPort} {
		if port != 0 {
			s.ports.claim(port)
		}
	}
	if o.Sockets > 0 {
		s.sockets.adopt(takeListeners(o.PID, o.Sockets))
	}
	p.enlist(i)
	i.send(lifecycle.Event{Kind: lifecycle.Adopt})
	i.sup.warden.add(proc.pid)
	go i.await(proc, 1)
}
