package registry

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cleave-go/cleave/discovery"
)

// Bounds of what a store holds.
const (
	maxServices  = 4096
	maxInstances = 20_000
	maxWatchers  = 10_000
)

// ErrFull means that a bound of the store is reached.
var ErrFull = errors.New("the registry is full")

// ErrUnknown means that there is no such instance.
var ErrUnknown = errors.New("no such instance")

// StoreOptions tunes a Store.
type StoreOptions struct {
	// Probe says whether something accepts connections at addr. Default: a TCP connect within 500 ms.
	Probe func(ctx context.Context, addr string) bool
	// Bind gives a service its virtual address when it is first heard of: host:port, and a note when that
	// is not on the standard port. Default: none.
	Bind func(service string) (vip, note string)
	// Logger hears of instances that are removed because their lease ran out. Default: slog.Default().
	Logger *slog.Logger
}

// A Store is the registry itself: what instances there are, one revision counter over all changes, and
// the watchers that hear of them. It is safe for concurrent use. Leases run out only while Run runs.
type Store struct {
	opts  StoreOptions
	epoch string
	wake  chan struct{} // capacity 1: a deadline may have become earlier

	binding sync.Mutex // one Bind at a time

	mu        sync.Mutex
	revision  uint64
	instances int
	services  map[string]*service
	watchers  map[string]*Watcher              // by id
	watching  map[string]map[*Watcher]struct{} // by service; under "" those of all
	acked     chan struct{}                    // closed and replaced when a watcher acknowledges or ends
}

type service struct {
	name      string
	vip, note string
	records   map[string]*record
	snapshot  discovery.Snapshot // as of the last change; never altered afterwards
}

// record is an instance and what is known of it beyond its snapshot.
type record struct {
	in           discovery.Instance
	declared     discovery.Status // what in.Status is when the lease is in order
	lease        time.Duration    // 0: none
	deadline     time.Time        // zero: none
	suspected    bool             // not heard of during its last lease
	unconfirmed  bool             // restored after a restart, and not heard of since
	registrar    string
	registeredAt time.Time
}

// NewStore returns an empty store.
func NewStore(opts *StoreOptions) *Store {
	s := &Store{
		epoch:    rand.Text()[:12],
		wake:     make(chan struct{}, 1),
		services: map[string]*service{},
		watchers: map[string]*Watcher{},
		watching: map[string]map[*Watcher]struct{}{},
		acked:    make(chan struct{}),
	}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.Probe == nil {
		s.opts.Probe = probeTCP
	}
	if s.opts.Logger == nil {
		s.opts.Logger = slog.Default()
	}
	return s
}

func probeTCP(ctx context.Context, addr string) bool {
	dialer := net.Dialer{Timeout: 500 * time.Millisecond}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// Epoch names this store; revisions of different epochs do not compare.
func (s *Store) Epoch() string { return s.epoch }

// Registration is an instance with the terms it is registered on.
type Registration struct {
	Instance  discovery.Instance
	Lease     time.Duration // 0: it stays until it is deregistered
	Registrar string        // who speaks for it, when not itself
	// RegisteredAt is set by the store.
	RegisteredAt time.Time
}

// Register adds an instance or replaces the one of the same service and id, and returns the service's
// state with it. Watchers hear of it only when that changed something.
func (s *Store) Register(reg Registration) (discovery.Snapshot, error) {
	in := reg.Instance
	if err := in.Validate(); err != nil {
		return discovery.Snapshot{}, err
	}
	if reg.Lease != 0 && (reg.Lease < 100*time.Millisecond || reg.Lease > time.Hour) {
		return discovery.Snapshot{}, fmt.Errorf("lease %v: want 100 ms to 1 h, or none", reg.Lease)
	}
	if len(reg.Registrar) > 255 {
		return discovery.Snapshot{}, fmt.Errorf("registrar of %d bytes: want at most 255", len(reg.Registrar))
	}
	if in.Status == discovery.Suspect {
		return discovery.Snapshot{}, errors.New("status SUSPECT is the registry's to give")
	}
	if err := s.ensure(in.Service); err != nil {
		return discovery.Snapshot{}, err
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	svc := s.services[in.Service]
	old := svc.records[in.ID]
	if old == nil {
		if s.instances >= maxInstances {
			return discovery.Snapshot{}, fmt.Errorf("register %s/%s: %w", in.Service, in.ID, ErrFull)
		}
		s.instances++
	}
	in.Meta = maps.Clone(in.Meta)
	r := &record{in: in, declared: in.Status, lease: reg.Lease, registrar: reg.Registrar, registeredAt: time.Now()}
	r.renew(time.Now())
	svc.records[in.ID] = r
	s.wakeUp()
	if old != nil {
		r.registeredAt = old.registeredAt
		if same(old.in, r.in) {
			return svc.snapshot, nil
		}
	}
	s.changed(svc)
	return svc.snapshot, nil
}

func same(a, b discovery.Instance) bool {
	return a.Addr == b.Addr && a.Version == b.Version && a.Status == b.Status && a.Weight == b.Weight && maps.Equal(a.Meta, b.Meta)
}

// ensure makes the service known, with its virtual address.
func (s *Store) ensure(name string) error {
	known := func() (bool, int) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.services[name] != nil, len(s.services)
	}
	if ok, _ := known(); ok {
		return nil
	}
	s.binding.Lock()
	defer s.binding.Unlock()
	if ok, n := known(); ok {
		return nil
	} else if n >= maxServices {
		return fmt.Errorf("register service %s: %w", name, ErrFull)
	}
	svc := &service{name: name, records: map[string]*record{}}
	if s.opts.Bind != nil {
		svc.vip, svc.note = s.opts.Bind(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.services[name] = svc
	s.changed(svc)
	return nil
}

// Key names an instance.
type Key struct{ Service, ID string }

// Renew prolongs the leases of instances from now and returns the keys of those it does not know.
func (s *Store) Renew(keys ...Key) (unknown []Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, key := range keys {
		svc, r := s.find(key)
		if r == nil {
			unknown = append(unknown, key)
			continue
		}
		r.renew(now)
		if r.in.Status == discovery.Suspect {
			r.in.Status = r.declared
			s.changed(svc)
		}
	}
	return unknown
}

func (r *record) renew(now time.Time) {
	r.unconfirmed, r.suspected = false, false
	r.deadline = time.Time{}
	if r.lease > 0 {
		r.deadline = now.Add(r.lease)
	}
}

// SetStatus changes the status of an instance and returns the service's state with it.
func (s *Store) SetStatus(key Key, status discovery.Status) (discovery.Snapshot, error) {
	if status == discovery.Suspect {
		return discovery.Snapshot{}, errors.New("status SUSPECT is the registry's to give")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	svc, r := s.find(key)
	if r == nil {
		return discovery.Snapshot{}, fmt.Errorf("%s/%s: %w", key.Service, key.ID, ErrUnknown)
	}
	r.declared = status
	r.renew(time.Now())
	if r.in.Status != status {
		r.in.Status = status
		s.changed(svc)
	}
	return svc.snapshot, nil
}

// Deregister removes an instance and returns the service's state without it. An instance that is not
// there is no error.
func (s *Store) Deregister(key Key) discovery.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	svc, r := s.find(key)
	if r != nil {
		s.remove(svc, key.ID)
		s.changed(svc)
	}
	return s.snapshot(key.Service)
}

func (s *Store) remove(svc *service, id string) {
	delete(svc.records, id)
	s.instances--
}

func (s *Store) find(key Key) (*service, *record) {
	svc := s.services[key.Service]
	if svc == nil {
		return nil, nil
	}
	return svc, svc.records[key.ID]
}

// Snapshot returns the present state of a service; ok is false when it was never heard of.
func (s *Store) Snapshot(name string) (snapshot discovery.Snapshot, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok = s.services[name]
	return s.snapshot(name), ok
}

func (s *Store) snapshot(name string) discovery.Snapshot {
	if svc := s.services[name]; svc != nil {
		return svc.snapshot
	}
	return discovery.Snapshot{Service: name, Epoch: s.epoch}
}

// List returns the state of every service by name, and the revision it is of.
func (s *Store) List() (revision uint64, services []discovery.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(s.services)) {
		services = append(services, s.services[name].snapshot)
	}
	return s.revision, services
}

// Registrations returns every instance with its terms, by service and id.
func (s *Store) Registrations() []Registration {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Registration, 0, s.instances)
	for _, svc := range s.services {
		for _, r := range svc.records {
			in := r.in
			in.Status = r.declared
			all = append(all, Registration{in, r.lease, r.registrar, r.registeredAt})
		}
	}
	slices.SortFunc(all, func(a, b Registration) int {
		return cmp.Or(strings.Compare(a.Instance.Service, b.Instance.Service), strings.Compare(a.Instance.ID, b.Instance.ID))
	})
	return all
}

// changed counts a revision for svc, renews its snapshot and wakes those who watch it.
func (s *Store) changed(svc *service) {
	s.revision++
	snapshot := discovery.Snapshot{
		Service: svc.name, Revision: s.revision, Epoch: s.epoch, VIP: svc.vip, VIPNote: svc.note,
		Instances: make([]discovery.Instance, 0, len(svc.records)),
	}
	for _, r := range svc.records {
		snapshot.Instances = append(snapshot.Instances, r.in)
	}
	slices.SortFunc(snapshot.Instances, func(a, b discovery.Instance) int { return strings.Compare(a.ID, b.ID) })
	svc.snapshot = snapshot
	for _, name := range []string{svc.name, ""} {
		for w := range s.watching[name] {
			w.mark(svc.name)
		}
	}
}

func (s *Store) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}
