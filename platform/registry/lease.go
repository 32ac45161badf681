package registry

import (
	"context"
	"sync"
	"time"

	"github.com/cleave-go/cleave/discovery"
)

// Run removes instances whose lease has run out, until ctx ends. It returns nil.
//
// A lease ends exactly when it says, by the monotonic clock. One instance that falls silent while others
// of its service are heard of is removed at once. When many fall silent (more than three and more than
// 15 %, or all that are left) the fault may be on the way, so each is tried first: one that accepts
// connections stays, as SUSPECT, until it is heard of again or stops accepting.
func (s *Store) Run(ctx context.Context) error {
	for {
		next := s.expire(ctx)
		if next.IsZero() {
			next = time.Now().Add(time.Hour)
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-s.wake:
			timer.Stop()
		case <-timer.C:
			s.forgive(time.Since(next))
		}
	}
}

// forgive begins all leases anew when this process itself did not run for a while: no renewal could arrive.
func (s *Store) forgive(late time.Duration) {
	if late < time.Second {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, svc := range s.services {
		for _, r := range svc.records {
			if !r.deadline.IsZero() {
				r.deadline = now.Add(r.term())
			}
		}
	}
	s.opts.Logger.Warn("the registry was stopped for a while: leases begin anew", "for", late)
}

// expire removes what is overdue, or finds it suspect, and returns the earliest deadline that is left.
func (s *Store) expire(ctx context.Context) (next time.Time) {
	doubtful := s.removeOverdue(time.Now())
	if len(doubtful) > 0 {
		s.settle(doubtful, s.probe(ctx, doubtful))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, svc := range s.services {
		for _, r := range svc.records {
			if !r.deadline.IsZero() && (next.IsZero() || r.deadline.Before(next)) {
				next = r.deadline
			}
		}
	}
	return next
}

// removeOverdue removes the overdue instances that need no second opinion and returns the others.
func (s *Store) removeOverdue(now time.Time) (doubtful []*record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, svc := range s.services {
		var overdue []*record
		silent, heard := 0, 0
		for _, r := range svc.records {
			switch left := r.deadline.Sub(now); {
			case r.deadline.IsZero() || left > r.lease/2 && !r.unconfirmed && !r.suspected:
				heard++
			case left <= 0:
				overdue = append(overdue, r)
				fallthrough
			default:
				silent++ // it missed a beat, at least
			}
		}
		many := silent > 3 && 100*silent > 15*len(svc.records) || heard == 0
		removed := false
		for _, r := range overdue {
			if !r.unconfirmed && (many || r.suspected) {
				doubtful = append(doubtful, r)
				continue
			}
			s.expel(svc, r, "lease ran out")
			removed = true
		}
		if removed {
			s.changed(svc)
		}
	}
	return doubtful
}

func (s *Store) expel(svc *service, r *record, reason string) {
	s.remove(svc, r.in.ID)
	s.opts.Logger.Warn("instance removed", "service", svc.name, "instance", r.in.ID, "addr", r.in.Addr, "reason", reason)
}

// probe tries the addresses side by side, 32 at a time.
func (s *Store) probe(ctx context.Context, records []*record) []bool {
	accepts := make([]bool, len(records))
	slots := make(chan struct{}, 32)
	var running sync.WaitGroup
	for i, r := range records {
		slots <- struct{}{}
		addr := r.in.Addr // never altered in a record
		running.Go(func() {
			defer func() { <-slots }()
			accepts[i] = s.opts.Probe(ctx, addr)
		})
	}
	running.Wait()
	return accepts
}

// settle decides on the doubtful unless they were renewed or replaced meanwhile.
func (s *Store) settle(doubtful []*record, accepts []bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	touched := map[*service]bool{}
	for i, r := range doubtful {
		svc, current := s.find(Key{r.in.Service, r.in.ID})
		if current != r || r.deadline.After(now) {
			continue
		}
		if !accepts[i] {
			s.expel(svc, r, "lease ran out and the address refuses connections")
			touched[svc] = true
			continue
		}
		r.deadline = now.Add(r.lease)
		r.suspected = true
		if r.in.Status == discovery.Up {
			r.in.Status = discovery.Suspect
			touched[svc] = true
		}
	}
	for svc := range touched {
		s.changed(svc)
	}
}

// term is how long the instance may be silent.
func (r *record) term() time.Duration {
	if r.lease == 0 {
		return confirmWithin // restored, and to be confirmed
	}
	return r.lease
}
