package natsbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
)

// Options adjusts a Bus; nil means the defaults.
type Options struct {
	Name     string        // of the connection, for people who look at the broker. Default: "cleave".
	MaxAge   time.Duration // of messages in a stream that this bus makes. Default: 7 days.
	MaxBytes int64         // of a stream that this bus makes. Default: 1 GiB.
	Replicas int           // of a stream that this bus makes; more than one needs a cluster. Default: 1.
	InFlight int           // messages sent and not yet acknowledged, for each source. Default: 1024.
	Check    time.Duration // how often an idle publisher compares the stream's end with its own. Default: 2 s.
	// Feed reads the tables of sources where their streams do not hold the
	// messages any more. Default: none, a subscriber that needs it gets
	// bus.ErrGone.
	Feed bus.Feed
	// Connect holds further options of the connection: TLS, credentials.
	// Default: none.
	Connect []nats.Option
	Logger  *slog.Logger // Default: slog.Default()
}

func (o *Options) withDefaults() Options {
	var c Options
	if o != nil {
		c = *o
	}
	or := func(v *int64, d int64) {
		if *v <= 0 {
			*v = d
		}
	}
	or((*int64)(&c.MaxAge), int64(7*24*time.Hour))
	or((*int64)(&c.Check), int64(2*time.Second))
	or(&c.MaxBytes, 1<<30)
	if c.Name == "" {
		c.Name = "cleave"
	}
	if c.Replicas <= 0 {
		c.Replicas = 1
	}
	if c.InFlight <= 0 {
		c.InFlight = 1024
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Bus is a connection to a broker. All methods may be called at the same time.
type Bus struct {
	opts Options
	conn *nats.Conn
	js   jetstream.JetStream

	mu        sync.Mutex
	connected chan struct{}        // closed, and made anew, at each connect
	streams   map[string]time.Time // that were there, and since when they are not
}

var (
	_ bus.Bus      = (*Bus)(nil)
	_ bus.Searcher = (*Bus)(nil)
)

// Connect returns a bus on the broker at url, which may hold a token or a user
// and several addresses. It does not wait for a broker that cannot be reached:
// the bus connects when it can, and again for ever. The error is a url or
// option that can never work.
func Connect(ctx context.Context, url string, o *Options) (*Bus, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if url == "" {
		return nil, errors.New("natsbus: the broker's URL is empty")
	}
	b := &Bus{opts: o.withDefaults(), connected: make(chan struct{}), streams: make(map[string]time.Time)}
	opts := append([]nats.Option{
		nats.Name(b.opts.Name),
		nats.MaxReconnects(-1),
		nats.RetryOnFailedConnect(true),
		nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(100 * time.Millisecond),
		nats.ReconnectJitter(50*time.Millisecond, 200*time.Millisecond),
		nats.ReconnectBufSize(-1), // what cannot be sent now is looked at again, not kept
		nats.ConnectHandler(func(*nats.Conn) { b.announce() }),
		nats.ReconnectHandler(func(*nats.Conn) { b.announce(); b.opts.Logger.Info("broker is back") }),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !nc.IsClosed() {
				b.opts.Logger.Warn("broker is gone, reconnecting", "error", err)
			}
		}),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			b.opts.Logger.Warn("broker connection", "error", err)
		}),
	}, b.opts.Connect...)
	var err error
	if b.conn, err = nats.Connect(url, opts...); err != nil {
		return nil, fmt.Errorf("natsbus: connect: %w", err)
	}
	b.js, err = jetstream.New(b.conn,
		jetstream.WithPublishAsyncMaxPending(1<<20), // each publisher has its own window
		jetstream.WithPublishAsyncTimeout(5*time.Second),
		jetstream.WithDefaultTimeout(5*time.Second))
	if err != nil {
		b.conn.Close()
		return nil, fmt.Errorf("natsbus: %w", err)
	}
	return b, nil
}

// Close ends the connection. Publish and Subscribe must have ended before.
func (b *Bus) Close() error {
	b.conn.Close()
	return nil
}

// Conn returns the connection beneath, for what this package does not offer.
func (b *Bus) Conn() *nats.Conn { return b.conn }

func (b *Bus) announce() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.connected)
	b.connected = make(chan struct{})
}

// nextConnect returns a channel that is closed at the next connect.
func (b *Bus) nextConnect() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.connected
}

// errReconnected is why a context of untilReconnect ended.
var errReconnected = errors.New("natsbus: the connection is a new one")

// untilReconnect returns a context that ends with errReconnected when the
// connection is made anew: what was asked before then is never answered, what a
// consumer was sent may be lost.
func (b *Bus) untilReconnect(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	again := b.nextConnect()
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-again:
			cancel(errReconnected)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(nil); <-done }
}

// streamName returns the name of a service's stream.
func streamName(service string) string { return "OUT_" + owner(service) }

// ingest is what the subjects of a service's messages begin with on their way
// into its stream. Streams may not listen to the same subject, and commands of
// several services go to one target.
func ingest(service string) string { return "out." + owner(service) + "." }

// owner returns a service's name as the subjects hold it.
func owner(service string) string {
	_, s, _ := strings.Cut(bus.Subject("", event.Record{Stream: event.Stream{Category: "$cmd." + service}}), ".")
	s, _, _ = strings.Cut(s, ".")
	return s
}

// stream returns a service's stream and makes it when it is missing. Both ends
// do so, so that neither has to come first.
func (b *Bus) stream(ctx context.Context, service string) (jetstream.Stream, error) {
	name := streamName(service)
	st, err := b.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		b.pause(ctx, b.missing(name))
		st, err = b.create(ctx, service)
	}
	if err == nil {
		b.mu.Lock()
		b.streams[name] = time.Time{}
		b.mu.Unlock()
	}
	return st, err
}

// missing returns how long to wait before a missing stream is made. When it was
// there before, the broker is still removing its files, and with them would
// remove those of a new stream of that name.
func (b *Bus) missing(name string) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	since, known := b.streams[name]
	if !known {
		return 0
	}
	if since.IsZero() {
		since = time.Now()
		b.streams[name] = since
	}
	return time.Until(since.Add(time.Second))
}

func (b *Bus) create(ctx context.Context, service string) (jetstream.Stream, error) {
	name, in := streamName(service), ingest(service)+">"
	st, err := b.js.CreateStream(ctx, jetstream.StreamConfig{
		Name:             name,
		Description:      "what the service " + service + " recorded, from its event table",
		Subjects:         []string{in},
		SubjectTransform: &jetstream.SubjectTransformConfig{Source: in, Destination: ">"},
		Retention:        jetstream.LimitsPolicy,
		Discard:          jetstream.DiscardOld,
		Storage:          jetstream.FileStorage,
		MaxAge:           b.opts.MaxAge,
		MaxBytes:         b.opts.MaxBytes,
		Replicas:         b.opts.Replicas,
		// The chain of ids does what the broker's memory of ids is for; the
		// shortest it takes, as that memory also outlives what was removed.
		Duplicates: 100 * time.Millisecond,
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return b.js.Stream(ctx, name)
	}
	return st, err
}

// pause waits for d or, when the connection is down, for the next connect.
func (b *Bus) pause(ctx context.Context, d time.Duration) {
	again := b.nextConnect()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-again:
	case <-ctx.Done():
	}
}
