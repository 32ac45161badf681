package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/cleave-go/cleave/discovery/registryapi"
)

// confirmWithin is how long a restored instance without a lease may stay before its registrar is heard of.
const confirmWithin = 10 * time.Second

// Restore puts back what a store held before a restart, so that nobody sees an empty registry meanwhile.
// Leases begin anew; an instance without a lease is removed unless its registrar renews it within 10 s.
func (s *Store) Restore(regs []Registration) error {
	for _, reg := range regs {
		if _, err := s.Register(reg); err != nil {
			return fmt.Errorf("restore %s/%s: %w", reg.Instance.Service, reg.Instance.ID, err)
		}
		s.mu.Lock()
		_, r := s.find(Key{reg.Instance.Service, reg.Instance.ID})
		r.registeredAt = reg.RegisteredAt
		if r.lease == 0 {
			r.unconfirmed = true
			r.deadline = time.Now().Add(confirmWithin)
		}
		s.mu.Unlock()
	}
	return nil
}

// loadState reads what saveState wrote; no file is no error. What of it a newer version wrote and this one
// does not know is left out.
func loadState(path string) ([]Registration, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var state registryapi.ListResponse
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, &state); err != nil {
		return nil, fmt.Errorf("instances in %s: %w", path, err)
	}
	var regs []Registration
	for _, svc := range state.GetServices() {
		for _, wire := range svc.GetInstances() {
			in, err := instanceFromWire(wire)
			if err != nil {
				return nil, fmt.Errorf("instances in %s: %w", path, err)
			}
			regs = append(regs, Registration{in, wire.GetLease().AsDuration(), wire.GetRegistrar(), wire.GetRegisteredAt().AsTime()})
		}
	}
	return regs, nil
}

// state is what a restart needs, in the form of a list answer.
func (s *Store) state() *registryapi.ListResponse {
	state := &registryapi.ListResponse{Epoch: s.epoch}
	var svc *registryapi.Service
	for _, reg := range s.Registrations() {
		if svc.GetName() != reg.Instance.Service {
			svc = &registryapi.Service{Name: reg.Instance.Service}
			state.Services = append(state.Services, svc)
		}
		svc.Instances = append(svc.Instances, registrationToWire(reg))
	}
	return state
}

// saveState writes the instances to a file after each change until ctx ends.
func (s *Store) saveState(ctx context.Context, path string) error {
	w, err := s.Subscribe("state file")
	if err != nil {
		return err
	}
	defer w.Close()
	s.mu.Lock()
	w.passive = true
	s.mu.Unlock()
	for {
		if _, _, err := w.Next(ctx); err != nil {
			return nil
		}
		data, err := protojson.MarshalOptions{Multiline: true}.Marshal(s.state())
		if err == nil {
			err = replaceFile(path, data)
		}
		if err != nil {
			s.opts.Logger.Error("cannot save the instances: a restart will not know them", "path", path, "error", err)
		}
	}
}
