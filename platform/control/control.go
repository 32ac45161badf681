package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/cleave-go/cleave/platform/control/controlapi"
)

// Dial returns a client of the socket. It connects with the first call.
func Dial(socket string) controlapi.ControlServiceClient {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}
	return controlapi.NewControlServiceClient(connect.NewClient(connecthttp.NewTransport(&http.Client{Transport: transport}, "http://cleave")))
}

// NotRunning reports whether a call failed because nobody serves the socket,
// or not any more.
func NotRunning(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, io.EOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		(connect.CodeOf(err) == connect.CodeUnavailable)
}

// Serve answers on the socket until ctx ends; calls under way have a second to
// end. The caller makes sure that no other process serves it.
func Serve(ctx context.Context, socket string, h controlapi.ControlServiceHandler) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("control socket: %w", err)
	}
	ln, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		ln.Close()
		return fmt.Errorf("control socket: %w", err)
	}
	server := connect.NewServer()
	controlapi.RegisterControlServiceHandler(server, h)
	mux := http.NewServeMux()
	connecthttp.Mount(mux, server)
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	select {
	case <-ctx.Done():
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if srv.Shutdown(stop) != nil {
			srv.Close()
		}
		<-ended
		return nil
	case err := <-ended:
		return fmt.Errorf("control socket: %w", err)
	}
}
