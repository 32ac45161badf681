package registry

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"

	"connectrpc.com/connect/v2"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/discovery/registryapi"
)

// api is the registry's Connect interface over a store.
type api struct{ s *Store }

var _ registryapi.RegistryServiceHandler = api{}

// writes are the procedures that need the token.
var writes = map[string]bool{
	registryapi.RegistryServiceRegisterProcedure:   true,
	registryapi.RegistryServiceRenewProcedure:      true,
	registryapi.RegistryServiceSetStatusProcedure:  true,
	registryapi.RegistryServiceDeregisterProcedure: true,
}

// authorize lets only those change something who bring the token.
func authorize(token string) connect.ServerInterceptor {
	return func(next connect.ServerFunc) connect.ServerFunc {
		return func(ctx context.Context, spec connect.Spec, stream connect.ServerStream) error {
			if token == "" || !writes[spec.Procedure] {
				return next(ctx, spec, stream)
			}
			got := ""
			if info, ok := connect.CallInfoForServerContext(ctx); ok {
				got = info.RequestHeader().Get("Authorization")
			}
			if subtle.ConstantTimeCompare([]byte(got), []byte("Bearer "+token)) != 1 {
				return connect.NewError(connect.CodeUnauthenticated, "changing the registry needs its token: set CLEAVE_TOKEN")
			}
			return next(ctx, spec, stream)
		}
	}
}

func (a api) Register(ctx context.Context, req *registryapi.RegisterRequest) (*registryapi.RegisterResponse, error) {
	in, err := instanceFromWire(req.GetInstance())
	if err == nil {
		err = claims(ctx, in.Addr)
	}
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err.Error())
	}
	snapshot, err := a.s.Register(Registration{Instance: in, Lease: req.GetLease().AsDuration(), Registrar: req.GetRegistrar()})
	if err != nil {
		return nil, mapError(err)
	}
	return &registryapi.RegisterResponse{Epoch: a.s.epoch, Revision: snapshot.Revision, Vip: snapshot.VIP}, nil
}

// claims says whether the caller may register addr: from this machine any of its addresses, from another
// machine only the one it calls from.
func claims(ctx context.Context, addr string) error {
	info, ok := connect.CallInfoForServerContext(ctx)
	if !ok || info.PeerAddr == "" {
		return nil // within the process
	}
	peer, err := netip.ParseAddrPort(info.PeerAddr)
	if err != nil {
		return nil // not a network
	}
	claimed, err := netip.ParseAddrPort(addr)
	if err != nil {
		return fmt.Errorf("instance address %q: want IP:port", addr)
	}
	ip, from := claimed.Addr().Unmap(), peer.Addr().Unmap()
	if ip == from || ip.IsLoopback() && from.IsLoopback() || from.IsLoopback() && ofThisMachine(ip) {
		return nil
	}
	return fmt.Errorf("instance address %s: a caller at %s may not register it", ip, from)
}

func ofThisMachine(ip netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(addrs, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Addr().Unmap() == ip
	})
}

func (a api) Renew(_ context.Context, req *registryapi.RenewRequest) (*registryapi.RenewResponse, error) {
	if len(req.GetKeys()) > 1000 {
		return nil, connect.Errorf(connect.CodeInvalidArgument, "%d keys: want at most 1,000", len(req.GetKeys()))
	}
	keys := make([]Key, len(req.GetKeys()))
	for i, k := range req.GetKeys() {
		keys[i] = keyFromWire(k)
	}
	res := &registryapi.RenewResponse{Epoch: a.s.epoch}
	for _, k := range a.s.Renew(keys...) {
		res.Unknown = append(res.Unknown, &registryapi.InstanceKey{Service: k.Service, Id: k.ID})
	}
	return res, nil
}

func (a api) SetStatus(ctx context.Context, req *registryapi.SetStatusRequest) (*registryapi.SetStatusResponse, error) {
	status, err := statusFromWire(req.GetStatus())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err.Error())
	}
	snapshot, err := a.s.SetStatus(keyFromWire(req.GetKey()), status)
	if err != nil {
		return nil, mapError(err)
	}
	return &registryapi.SetStatusResponse{
		Epoch: a.s.epoch, Revision: snapshot.Revision, Waiting: a.await(ctx, snapshot, req.GetAwait()),
	}, nil
}

func (a api) Deregister(ctx context.Context, req *registryapi.DeregisterRequest) (*registryapi.DeregisterResponse, error) {
	snapshot := a.s.Deregister(keyFromWire(req.GetKey()))
	return &registryapi.DeregisterResponse{
		Epoch: a.s.epoch, Revision: snapshot.Revision, Waiting: a.await(ctx, snapshot, req.GetAwait()),
	}, nil
}

func (a api) await(ctx context.Context, snapshot discovery.Snapshot, d *durationpb.Duration) []string {
	if d == nil {
		return nil
	}
	return a.s.Await(ctx, snapshot.Service, snapshot.Revision, d.AsDuration())
}

func (a api) Watch(ctx context.Context, req *registryapi.WatchRequest, stream registryapi.RegistryServiceWatchServerStream) error {
	if len(req.GetServices()) > 1000 {
		return connect.Errorf(connect.CodeInvalidArgument, "%d services: want at most 1,000, or none for all", len(req.GetServices()))
	}
	for _, name := range req.GetServices() {
		if err := discovery.ValidateService(name); err != nil {
			return connect.NewError(connect.CodeInvalidArgument, err.Error())
		}
	}
	name := req.GetWatcher()
	name = strings.ToValidUTF8(name[:min(len(name), 100)], "")
	w, err := a.s.Subscribe(name, req.GetServices()...)
	if err != nil {
		return mapError(err)
	}
	defer w.Close()
	for {
		revision, changed, err := w.Next(ctx)
		if err != nil {
			return err
		}
		res := &registryapi.WatchResponse{Epoch: a.s.epoch, Revision: revision, WatcherId: w.ID()}
		for _, snapshot := range changed {
			res.Services = append(res.Services, serviceToWire(snapshot))
		}
		if err := stream.Send(res); err != nil {
			return err
		}
	}
}

func (a api) Ack(_ context.Context, req *registryapi.AckRequest) (*registryapi.AckResponse, error) {
	a.s.ack(req.GetWatcherId(), req.GetRevision())
	return &registryapi.AckResponse{}, nil
}

func (a api) List(_ context.Context, req *registryapi.ListRequest) (*registryapi.ListResponse, error) {
	revision, services := a.s.List()
	res := &registryapi.ListResponse{Epoch: a.s.epoch, Revision: revision}
	byName := map[string]*registryapi.Service{}
	for _, snapshot := range services {
		if len(req.GetServices()) == 0 || slices.Contains(req.GetServices(), snapshot.Service) {
			byName[snapshot.Service] = serviceToWire(snapshot)
			res.Services = append(res.Services, byName[snapshot.Service])
		}
	}
	for _, reg := range a.s.Registrations() {
		svc := byName[reg.Instance.Service]
		i := slices.IndexFunc(svc.GetInstances(), func(in *registryapi.Instance) bool { return in.GetId() == reg.Instance.ID })
		if i < 0 {
			continue
		}
		full := registrationToWire(reg)
		full.Status = svc.Instances[i].Status // which may be SUSPECT
		svc.Instances[i] = full
	}
	for _, w := range a.s.Watchers() {
		res.Watchers = append(res.Watchers, &registryapi.Watcher{Name: w.Name, Services: w.Services, Acked: w.Acked})
	}
	return res, nil
}

func mapError(err error) error {
	switch {
	case errors.Is(err, ErrUnknown):
		return connect.NewError(connect.CodeNotFound, err.Error())
	case errors.Is(err, ErrFull):
		return connect.NewError(connect.CodeResourceExhausted, err.Error())
	}
	return connect.NewError(connect.CodeInvalidArgument, err.Error())
}

func keyFromWire(k *registryapi.InstanceKey) Key { return Key{k.GetService(), k.GetId()} }

// statuses are named alike in both vocabularies.
func statusFromWire(s registryapi.Status) (discovery.Status, error) {
	if s == registryapi.Status_STATUS_UNSPECIFIED {
		return discovery.Up, nil
	}
	return discovery.ParseStatus(s.String())
}

func instanceFromWire(in *registryapi.Instance) (discovery.Instance, error) {
	status, err := statusFromWire(in.GetStatus())
	return discovery.Instance{
		Service: in.GetService(), ID: in.GetId(), Version: in.GetVersion(), Addr: in.GetAddr(),
		Status: status, Weight: int(in.GetWeight()), Meta: in.GetMeta(),
	}, err
}

func serviceToWire(s discovery.Snapshot) *registryapi.Service {
	out := &registryapi.Service{Name: s.Service, Revision: s.Revision, Vip: s.VIP, VipNote: s.VIPNote}
	for _, in := range s.Instances {
		out.Instances = append(out.Instances, instanceToWire(in))
	}
	return out
}

func instanceToWire(in discovery.Instance) *registryapi.Instance {
	return &registryapi.Instance{
		Service: in.Service, Id: in.ID, Version: in.Version, Addr: in.Addr,
		Status: registryapi.Status(registryapi.Status_value[in.Status.String()]),
		Weight: int32(in.Weight), Meta: maps.Clone(in.Meta),
	}
}

func registrationToWire(reg Registration) *registryapi.Instance {
	wire := instanceToWire(reg.Instance)
	wire.RegisteredAt, wire.Registrar = timestamppb.New(reg.RegisteredAt), reg.Registrar
	if reg.Lease > 0 {
		wire.Lease = durationpb.New(reg.Lease)
	}
	return wire
}
