package discovery

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cleave-go/cleave/discovery/registryapi"
)

// RegistrationOptions tunes a Registration.
type RegistrationOptions struct {
	// Lease is the time after which the registry removes an instance it heard nothing of; a third of it
	// passes between two beats. Default: 10 s.
	Lease time.Duration
	// Registrar names who speaks for an instance that does not speak for itself, such as the supervisor
	// that started it. The instance then has no lease: it stays until Run ends, and Lease only sets how
	// soon a restart of the registry is noticed.
	Registrar string
	// DrainWait bounds the wait at the end for router and watchers to act on the removal. Default and
	// most: 2 s.
	DrainWait time.Duration
}

// A Registration keeps one instance in the registry while its Run runs.
type Registration struct {
	c    *Client
	opts RegistrationOptions

	mu         sync.Mutex
	in         Instance
	known      bool   // the registry has it as it is, as far as we know
	epoch      string // of the registry that took it
	registered chan struct{}
	once       sync.Once
}

// NewRegistration prepares the registration of an instance; Run carries it out. The error says what of
// the instance is not valid.
func (c *Client) NewRegistration(in Instance, opts *RegistrationOptions) (*Registration, error) {
	if err := in.Validate(); err != nil {
		return nil, err
	}
	r := &Registration{c: c, in: in, registered: make(chan struct{})}
	if opts != nil {
		r.opts = *opts
	}
	setDefault(&r.opts.Lease, 10*time.Second)
	setDefault(&r.opts.DrainWait, 2*time.Second)
	return r, nil
}

// Registered is closed when the registry first took the instance.
func (r *Registration) Registered() <-chan struct{} { return r.registered }

// Run registers the instance, renews its lease, and registers it again when the registry restarted.
// While the registry cannot be reached it goes on trying. When ctx ends Run removes the instance and
// returns once router and watchers send nothing new to it, or DrainWait has passed: only then should the
// instance stop accepting calls. It returns an error only when the registry refuses the instance as
// invalid.
func (r *Registration) Run(ctx context.Context) error {
	interval := r.opts.Lease / 3
	retry := backoff{first: min(50*time.Millisecond, interval), most: min(time.Second, interval)}
	down := false
	for ctx.Err() == nil {
		wait := interval
		switch again, err := r.beat(ctx, min(interval, 2*time.Second)); {
		case err == nil && again:
			continue
		case err == nil:
			if down {
				r.log().Info("registered again")
			}
			down = false
			retry.reset()
		case ctx.Err() != nil:
		case connect.CodeOf(err) == connect.CodeInvalidArgument:
			return fmt.Errorf("register %s/%s: %w", r.in.Service, r.in.ID, err)
		default:
			if !down {
				r.log().Warn("cannot register, trying on", "error", err)
			}
			down = true
			wait = retry.delay()
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	r.leave(context.WithoutCancel(ctx))
	return nil
}

// SetStatus changes the status, at the registry at once and in every later registration. Leaving Up it
// returns when router and watchers act on it or DrainWait has passed; waiting names those that do not yet.
func (r *Registration) SetStatus(ctx context.Context, status Status) (waiting []string, err error) {
	r.mu.Lock()
	await := r.opts.DrainWait
	if !r.in.Status.Live() || status.Live() {
		await = 0
	}
	r.in.Status = status
	known := r.known
	r.mu.Unlock()
	if !known {
		return nil, nil
	}
	waiting, err = r.c.SetStatus(ctx, r.in.Service, r.in.ID, status, await)
	if err != nil {
		r.forget() // the next beat registers it with the new status
	}
	return waiting, err
}

func (r *Registration) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = false
}

// beat renews the lease, or registers. It asks to be called again at once when that is not yet enough.
func (r *Registration) beat(ctx context.Context, timeout time.Duration) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r.mu.Lock()
	in, known, epoch := r.in, r.known, r.epoch
	r.mu.Unlock()
	if known {
		key := &registryapi.InstanceKey{Service: in.Service, Id: in.ID}
		res, err := r.c.api.Renew(ctx, &registryapi.RenewRequest{Keys: []*registryapi.InstanceKey{key}})
		if err != nil || len(res.GetUnknown()) == 0 && res.GetEpoch() == epoch {
			return false, err
		}
		r.forget() // it restarted, and what it kept of the instance may be old
		return true, nil
	}
	req := &registryapi.RegisterRequest{Instance: instanceToWire(in), Registrar: r.opts.Registrar}
	if r.opts.Registrar == "" {
		req.Lease = durationpb.New(r.opts.Lease)
	}
	res, err := r.c.api.Register(ctx, req)
	if err != nil {
		return false, err
	}
	r.once.Do(func() { close(r.registered) })
	r.mu.Lock()
	defer r.mu.Unlock()
	r.epoch = res.GetEpoch()
	r.known = r.in.Status == in.Status // a status set meanwhile is sent by registering once more
	return !r.known, nil
}

func (r *Registration) leave(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.opts.DrainWait+time.Second)
	defer cancel()
	waiting, err := r.c.Deregister(ctx, r.in.Service, r.in.ID, r.opts.DrainWait)
	if err != nil {
		r.log().Warn("cannot deregister, the lease will run out", "error", err)
	} else if len(waiting) > 0 {
		r.log().Warn("drain barrier: going on without all acknowledgements", "waiting", waiting)
	}
}

func (r *Registration) log() *slog.Logger {
	return r.c.logger.With("registry", r.c.url, "service", r.in.Service, "instance", r.in.ID)
}
