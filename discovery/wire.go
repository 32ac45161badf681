package discovery

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cleave-go/cleave/discovery/registryapi"
)

var statusWire = [...]registryapi.Status{
	Up:           registryapi.Status_UP,
	Starting:     registryapi.Status_STARTING,
	Draining:     registryapi.Status_DRAINING,
	OutOfService: registryapi.Status_OUT_OF_SERVICE,
	Suspect:      registryapi.Status_SUSPECT,
}

func statusToWire(s Status) registryapi.Status {
	if int(s) < len(statusWire) {
		return statusWire[s]
	}
	return registryapi.Status(-1) // the registry refuses it
}

// statusFromWire takes a status of a newer registry as one that takes no calls.
func statusFromWire(s registryapi.Status) Status {
	for status, wire := range statusWire {
		if wire == s {
			return Status(status)
		}
	}
	return OutOfService
}

func instanceToWire(in Instance) *registryapi.Instance {
	return &registryapi.Instance{
		Service: in.Service,
		Id:      in.ID,
		Version: in.Version,
		Addr:    in.Addr,
		Status:  statusToWire(in.Status),
		Weight:  int32(in.Weight),
		Meta:    in.Meta,
	}
}

func snapshotOf(epoch string, s *registryapi.Service) Snapshot {
	out := Snapshot{
		Service:  s.GetName(),
		Revision: s.GetRevision(),
		Epoch:    epoch,
		VIP:      s.GetVip(),
		VIPNote:  s.GetVipNote(),
	}
	for _, in := range s.GetInstances() {
		out.Instances = append(out.Instances, Instance{
			Service: s.GetName(),
			ID:      in.GetId(),
			Version: in.GetVersion(),
			Addr:    in.GetAddr(),
			Status:  statusFromWire(in.GetStatus()),
			Weight:  int(in.GetWeight()),
			Meta:    in.GetMeta(),
		})
	}
	return out
}

// backoff is a doubling wait, less up to a fifth by chance so that clients do not return in step.
type backoff struct{ first, most, next time.Duration }

func (b *backoff) reset() { b.next = 0 }

func (b *backoff) delay() time.Duration {
	b.next = min(max(2*b.next, b.first), b.most)
	return b.next - rand.N(b.next/5+1)
}

func (b *backoff) wait(ctx context.Context) {
	timer := time.NewTimer(b.delay())
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
