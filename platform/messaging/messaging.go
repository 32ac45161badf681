package messaging

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// MaxPayload is the largest message the broker takes, headers included.
const MaxPayload = 8 << 20

// Options says how to run the broker.
type Options struct {
	Dir    string // of the streams; made when missing. Required.
	Listen string // host:port; port 0: a free one. Default: "127.0.0.1:4222".
	Token  string // that clients must present; required beyond loopback. Default: none.
	// Ready is called once, when clients can connect, with the URL for them. It
	// holds the token. Default: none.
	Ready  func(url string)
	Logger *slog.Logger // Default: slog.Default()
}

// Run runs the broker until ctx ends, then stops it and returns nil. It returns
// an error when the broker cannot start, or stops by itself.
func Run(ctx context.Context, o Options) error {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	opts, err := o.server()
	if err != nil {
		return err
	}
	unlock, err := lock(o.Dir)
	if err != nil {
		return err
	}
	defer unlock()

	srv, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("messaging: %w", err)
	}
	log := logger{o.Logger, make(chan string, 1)}
	srv.SetLoggerV2(log, false, false, false)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		srv.Start()
		srv.WaitForShutdown()
	}()
	defer func() {
		srv.Shutdown()
		<-stopped
	}()

	if err := ready(ctx, srv, log.fatal); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if o.Ready != nil {
		o.Ready(clientURL(srv, o.Token))
	}
	select {
	case <-ctx.Done():
		return nil
	case why := <-log.fatal:
		return fmt.Errorf("messaging: the broker stopped: %s", why)
	case <-stopped:
		return errors.New("messaging: the broker stopped by itself; its log says why")
	}
}

// server turns o into the server's own options, or says what is wrong with it.
func (o *Options) server() (*server.Options, error) {
	if o.Dir == "" {
		return nil, errors.New("messaging: Options.Dir is empty; name the folder for the streams")
	}
	listen := o.Listen
	if listen == "" {
		listen = "127.0.0.1:4222"
	}
	host, p, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, fmt.Errorf("messaging: listen address %q: %w", listen, err)
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("messaging: listen address %q: the port is not a number from 0 to 65535", listen)
	}
	if ip := net.ParseIP(host); o.Token == "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("messaging: %q is not a loopback address; listening there needs a token", listen)
	}
	n := int(port)
	if n == 0 {
		n = server.RANDOM_PORT
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("messaging: folder %q: %w", o.Dir, err)
	}
	return &server.Options{
		ServerName:    "cleave",
		Host:          host,
		Port:          n,
		Authorization: o.Token,
		NoSigs:        true,
		MaxPayload:    MaxPayload,
		JetStream:     true,
		StoreDir:      dir,
		// Streams reserve the bytes they may grow to. The limit of each stream is
		// what bounds the disk; a sum of reservations above its size is no error.
		JetStreamMaxStore: 1 << 50,
	}, nil
}

// ready waits until clients can connect.
func ready(ctx context.Context, srv *server.Server, fatal <-chan string) error {
	deadline := time.Now().Add(30 * time.Second)
	for !srv.ReadyForConnections(50 * time.Millisecond) {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case why := <-fatal:
			return fmt.Errorf("messaging: the broker did not start: %s", why)
		default:
		}
		if time.Now().After(deadline) {
			return errors.New("messaging: the broker was not ready within 30 s")
		}
	}
	return nil
}

func clientURL(srv *server.Server, token string) string {
	u := url.URL{Scheme: "nats", Host: srv.Addr().String()}
	if token != "" {
		u.User = url.User(token)
	}
	return u.String()
}

// lock claims the folder for this process, and makes it when it is missing.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("messaging: folder: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("messaging: folder: %w", err)
	}
	if err := flock(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("messaging: another broker uses the folder %q", dir)
	}
	return func() { f.Close() }, nil
}
