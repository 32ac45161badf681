package discovery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// An Instance is one running copy of a service.
type Instance struct {
	Service string // the name it is found under, such as "kitchen"
	ID      string // unique among the instances of the service
	Version string // what it runs; free text
	Addr    string // host:port it accepts connections on
	Status  Status
	// Weight is its share of the traffic relative to the other instances. Default: DefaultWeight.
	Weight int
	// Meta is free text for its clients, at most 4 KiB in all.
	Meta map[string]string
}

// What Meta says of an instance that rpi's clients act on.
const (
	// MetaWire is the key under which an instance announces what it takes at Addr
	// beside HTTP. One that does not is called over HTTP.
	MetaWire = "wire"
	// WireGRPC is the value for gRPC over connections that rpi/grpcwire makes.
	WireGRPC = "grpc"
)

// DefaultWeight is the weight of an instance that names none.
const DefaultWeight = 100

// A Status says whether an instance takes new calls.
type Status uint8

const (
	Up           Status = iota // takes calls
	Starting                   // runs but is not ready yet
	Draining                   // finishes what it has and takes nothing new
	OutOfService               // healthy, but taken out by an operator
	Suspect                    // its lease ran out, yet it accepts connections: takes few calls
)

var statusNames = [...]string{Up: "UP", Starting: "STARTING", Draining: "DRAINING", OutOfService: "OUT_OF_SERVICE", Suspect: "SUSPECT"}

// String returns the upper-case name, such as OUT_OF_SERVICE.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("STATUS_%d", uint8(s))
}

// ParseStatus reads what String returns.
func ParseStatus(s string) (Status, error) {
	if i := slices.Index(statusNames[:], s); i >= 0 {
		return Status(i), nil
	}
	return 0, fmt.Errorf("unknown status %q: want one of %v", s, statusNames)
}

// MarshalText encodes the status by its name, so that JSON shows it readable.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *Status) UnmarshalText(text []byte) error {
	parsed, err := ParseStatus(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}

// Live says whether new calls may go to an instance of this status.
func (s Status) Live() bool { return s == Up || s == Suspect }

// A Snapshot is everything known of one service at one moment. Its contents are shared: readers change
// nothing in it.
type Snapshot struct {
	Service string
	// Revision grows with each change. Revisions of one service compare only when their Epoch is the same.
	Revision uint64
	// Epoch names the registry process that counted Revision.
	Epoch string
	// VIP is the stable virtual address of the service as host:port, or empty where there is none.
	VIP string
	// VIPNote says why VIP is not on the standard port, when it is not.
	VIPNote   string
	Instances []Instance // ordered by ID
}

// Live returns the instances that take new calls.
func (s Snapshot) Live() []Instance {
	var live []Instance
	for _, in := range s.Instances {
		if in.Status.Live() {
			live = append(live, in)
		}
	}
	return live
}

// A Resolver tells where the instances of a service are. Implementations are safe for concurrent use.
//
// Watch yields the service's snapshot as soon as it is known and again after each change, newest only: a
// slow reader misses states between, never the last. A service nobody registered has a snapshot without
// instances. An error says that news may be missing at present; the sequence goes on by itself and ends
// when ctx does.
type Resolver interface {
	Watch(ctx context.Context, service string) iter.Seq2[Snapshot, error]
}

// ErrNoInstance means that no instance of a service takes calls now.
var ErrNoInstance = errors.New("no live instance")

// Static is the resolver of fixed addresses (host:port) by service name. They never change.
func Static(addrs map[string][]string) Resolver {
	s := make(static, len(addrs))
	for service, list := range addrs {
		snapshot := Snapshot{Service: service, Revision: 1}
		for _, addr := range slices.Sorted(slices.Values(list)) {
			snapshot.Instances = append(snapshot.Instances, Instance{Service: service, ID: addr, Addr: addr})
		}
		s[service] = snapshot
	}
	return s
}

type static map[string]Snapshot

func (s static) Watch(ctx context.Context, service string) iter.Seq2[Snapshot, error] {
	return func(yield func(Snapshot, error) bool) {
		snapshot, ok := s[service]
		if !ok {
			snapshot = Snapshot{Service: service, Revision: 1}
		}
		if ctx.Err() == nil && yield(snapshot, nil) {
			<-ctx.Done()
		}
	}
}
