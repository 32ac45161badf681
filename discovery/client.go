package discovery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cleave-go/cleave/discovery/registryapi"
)

// ClientOptions tunes a Client.
type ClientOptions struct {
	// Name says who watches, for people who read the registry's list. Default: the program's name.
	Name string
	// HTTP sends the requests. Default: a client of its own that speaks HTTP/2 over one connection.
	HTTP connecthttp.HTTPClient
	// Logger hears of outages that no caller does. Default: slog.Default().
	Logger *slog.Logger
}

// A Client talks to a registry. It is a Resolver: its watches survive the registry's absence, reconnect
// by themselves, and never take instances away because the registry cannot be reached. It is safe for
// concurrent use.
type Client struct {
	api    registryapi.RegistryServiceClient
	name   string
	url    string
	logger *slog.Logger

	mu   sync.Mutex
	last map[string]Snapshot // what was heard last of each service ever watched
}

// NewClient returns a client of the registry at an http or https URL. The token authorizes changes; a
// client that only reads needs none. Nothing is sent yet.
func NewClient(registry, token string, opts *ClientOptions) (*Client, error) {
	u, err := url.Parse(registry)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("registry URL %q: want http://host:port", clip(registry))
	}
	c := &Client{url: registry, last: map[string]Snapshot{}}
	var sender connecthttp.HTTPClient
	if opts != nil {
		c.name, c.logger, sender = opts.Name, opts.Logger, opts.HTTP
	}
	if c.name == "" {
		c.name = filepath.Base(os.Args[0])
	}
	if c.logger == nil {
		c.logger = slog.Default()
	}
	if sender == nil {
		sender = newHTTPClient()
	}
	transport := connecthttp.NewTransport(sender, registry, connecthttp.WithReadMaxBytes(64<<20))
	c.api = registryapi.NewRegistryServiceClient(connect.NewClient(transport, bearer(token)))
	return c, nil
}

// newHTTPClient multiplexes all watches over one connection and notices when the other end is gone
// without a word.
func newHTTPClient() *http.Client {
	t := &http.Transport{
		Protocols: new(http.Protocols),
		HTTP2:     &http.HTTP2Config{SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second},
	}
	t.Protocols.SetHTTP2(true)
	t.Protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: t}
}

func bearer(token string) connect.ClientInterceptor {
	return func(next connect.ClientFunc) connect.ClientFunc {
		return func(ctx context.Context, spec connect.Spec) (connect.ClientStream, error) {
			if info, ok := connect.CallInfoForClientContext(ctx); ok && token != "" {
				info.RequestHeader().Set("Authorization", "Bearer "+token)
			}
			return next(ctx, spec)
		}
	}
}

// API is the registry's own interface, for what Client does not offer.
func (c *Client) API() registryapi.RegistryServiceClient { return c.api }

// List returns the present state of every service.
func (c *Client) List(ctx context.Context) ([]Snapshot, error) {
	res, err := c.api.List(ctx, &registryapi.ListRequest{})
	if err != nil {
		return nil, fmt.Errorf("list the services of %s: %w", c.url, err)
	}
	all := make([]Snapshot, len(res.GetServices()))
	for i, s := range res.GetServices() {
		all[i] = snapshotOf(res.GetEpoch(), s)
	}
	return all, nil
}

// SetStatus changes the status of an instance. With await above zero it returns when router and watchers
// act on the change, or when that time (2 s at most) has passed: waiting then names those that do not yet.
func (c *Client) SetStatus(ctx context.Context, service, id string, status Status, await time.Duration) (waiting []string, err error) {
	req := &registryapi.SetStatusRequest{
		Key:    &registryapi.InstanceKey{Service: service, Id: id},
		Status: statusToWire(status),
	}
	if await > 0 {
		req.Await = durationpb.New(await)
	}
	res, err := c.api.SetStatus(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("set %s/%s %v: %w", service, id, status, err)
	}
	return res.GetWaiting(), nil
}

// Deregister removes an instance; await is as in SetStatus.
func (c *Client) Deregister(ctx context.Context, service, id string, await time.Duration) (waiting []string, err error) {
	req := &registryapi.DeregisterRequest{Key: &registryapi.InstanceKey{Service: service, Id: id}}
	if await > 0 {
		req.Await = durationpb.New(await)
	}
	res, err := c.api.Deregister(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("deregister %s/%s: %w", service, id, err)
	}
	return res.GetWaiting(), nil
}

// Watch implements Resolver. When the registry cannot be reached at first, what this client heard last
// of the service is yielded. Each outage yields one error. A snapshot counts as acted upon, and is
// acknowledged to the registry, when the loop body that received it has ended.
func (c *Client) Watch(ctx context.Context, service string) iter.Seq2[Snapshot, error] {
	return func(yield func(Snapshot, error) bool) {
		w := watch{c: c, service: service, yield: yield}
		retry := backoff{first: 50 * time.Millisecond, most: time.Second}
		down := false
		for ctx.Err() == nil {
			heard, err := w.follow(ctx)
			if w.stopped || ctx.Err() != nil {
				return
			}
			if heard {
				down = false
				retry.reset()
			}
			if !down && !w.report(fmt.Errorf("watch %s at %s: %w", service, c.url, err)) {
				return
			}
			down = true
			retry.wait(ctx)
		}
	}
}

// watch is one running Watch.
type watch struct {
	c       *Client
	service string
	yield   func(Snapshot, error) bool
	current Snapshot
	known   bool // current was yielded
	stopped bool // the consumer stopped
}

// report tells of an outage, and of what is known from other watches when nothing was yielded yet.
func (w *watch) report(err error) bool {
	if !w.known {
		w.c.mu.Lock()
		last, ok := w.c.last[w.service]
		w.c.mu.Unlock()
		if ok && !w.deliver(last) {
			return false
		}
	}
	return w.yield(Snapshot{Service: w.service}, err)
}

func (w *watch) deliver(s Snapshot) bool {
	if w.known && s.Epoch == w.current.Epoch && s.Revision == w.current.Revision {
		return true
	}
	w.known, w.current = true, s
	w.stopped = !w.yield(s, nil)
	return !w.stopped
}

// follow reads one stream until it ends and says whether it heard anything.
func (w *watch) follow(ctx context.Context) (heard bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.c.api.Watch(ctx, &registryapi.WatchRequest{Services: []string{w.service}, Watcher: w.c.name})
	if err != nil {
		return false, err
	}
	defer stream.Close()
	for {
		res, err := stream.Receive()
		if err != nil {
			return heard, err
		}
		heard = true
		for _, s := range res.GetServices() {
			if s.GetName() != w.service {
				continue
			}
			snapshot := snapshotOf(res.GetEpoch(), s)
			w.c.mu.Lock()
			w.c.last[w.service] = snapshot
			w.c.mu.Unlock()
			if !w.deliver(snapshot) {
				return heard, nil
			}
		}
		w.c.ack(ctx, res)
	}
}

// ack fails only when the stream is about to fail too, and that is where it is noticed.
func (c *Client) ack(ctx context.Context, res *registryapi.WatchResponse) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_, err := c.api.Ack(ctx, &registryapi.AckRequest{WatcherId: res.GetWatcherId(), Revision: res.GetRevision()})
	if err != nil && !errors.Is(err, context.Canceled) {
		c.logger.Debug("acknowledge a registry revision", "registry", c.url, "error", err)
	}
}
