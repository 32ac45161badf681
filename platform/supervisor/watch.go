package supervisor

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"slices"
	"time"

	"github.com/cleave-go/cleave/platform/supervisor/lifecycle"
)

// update changes what mu guards, keeps the state file current, and wakes those
// who wait for a change.
func (s *Supervisor) update(change func()) {
	s.mu.Lock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
	s.saveLocked()
	s.mu.Unlock()
}

// await returns when cond, called with mu held, is true.
func (s *Supervisor) await(ctx context.Context, cond func() bool) error {
	for {
		s.mu.Lock()
		ok, changed := cond(), s.changed
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// WaitReady returns when every program has its instances and all are ready.
func (s *Supervisor) WaitReady(ctx context.Context) error {
	return s.await(ctx, func() bool {
		for _, p := range s.all() {
			if p.readyLocked() < p.replicas {
				return false
			}
		}
		return s.up
	})
}

func (p *program) readyLocked() int {
	n := 0
	for _, i := range p.instances {
		if i.state.Phase == lifecycle.Ready {
			n++
		}
	}
	return n
}

func (s *Supervisor) all() []*program { return append(slices.Clone(s.roles), s.services...) }

func (s *Supervisor) anyLive(list []*program) bool {
	return slices.ContainsFunc(list, func(p *program) bool { return len(p.live()) > 0 })
}

// find returns the program of that name, or the one that hosts the service.
func (s *Supervisor) find(name string) *program {
	for _, p := range s.all() {
		if p.spec.Name == name {
			return p
		}
	}
	for _, p := range s.services {
		if slices.Contains(p.spec.Services(), name) {
			return p
		}
	}
	return nil
}

func (s *Supervisor) save() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.saveLocked()
}

func (s *Supervisor) saveLocked() {
	if s.token == "" {
		return
	}
	st := s.stateLocked()
	data, _ := json.Marshal(st)
	if bytes.Equal(data, s.saved) {
		return
	}
	if err := writeState(s.layout, st); err != nil {
		s.opts.Logger.Error("state file", "error", err)
		return
	}
	s.saved = data
}

func (s *Supervisor) stateLocked() state {
	st := state{
		PID: os.Getpid(), Started: s.started.Round(time.Second), Topology: s.opts.Topology, Offset: s.opts.PortOffset, Detached: s.opts.Detached,
		Token: s.token, BrokerPort: s.brokerPort, Replicas: map[string]int{},
	}
	if s.gone {
		st.PID = 0
	}
	for _, p := range s.all() {
		if p.replicas != p.spec.Replicas {
			st.Replicas[p.spec.Name] = p.replicas
		}
		for _, i := range p.instances {
			if i.proc == nil {
				continue
			}
			st.Instances = append(st.Instances, instanceState{
				ID: i.id, Program: p.spec.Name, PID: i.proc.pid, Birth: i.proc.birth, Port: i.port, AdminPort: i.adminPort,
				Binary: i.art.path, Version: i.art.version, Kit: i.art.kit, Sockets: i.sockets, Ready: i.state.Phase == lifecycle.Ready,
			})
		}
	}
	return st
}
