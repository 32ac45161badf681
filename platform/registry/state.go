package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
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

// loadState reads what saveState wrote; no file is no error.
func loadState(path string) ([]Registration, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var regs []Registration
	if err := json.Unmarshal(data, &regs); err != nil {
		return nil, fmt.Errorf("instances in %s: %w", path, err)
	}
	return regs, nil
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
		if err := writeJSON(path, s.Registrations()); err != nil {
			s.opts.Logger.Error("cannot save the instances: a restart will not know them", "path", path, "error", err)
		}
	}
}
