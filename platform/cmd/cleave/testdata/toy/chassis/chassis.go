// Package chassis is the least that a supervised program needs: it takes over a
// socket, says when it is ready, and ends its calls before itself.
package chassis

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

// Main serves h until it is told to end.
func Main(h http.Handler) {
	if err := run(h); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(h http.Handler) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ln, err := listen()
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: h}
	srv.SetKeepAlivesEnabled(false)
	go srv.Serve(ln)
	fmt.Println("ready on", ln.Addr(), "pid", os.Getpid())
	if err := notify("READY=1\n"); err != nil {
		return err
	}
	<-ctx.Done()
	if err := notify("STOPPING=1\n"); err != nil {
		fmt.Println("nobody hears that it stops:", err)
	}
	ln.Close()
	time.Sleep(50 * time.Millisecond) // for calls that were accepted and have not begun
	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return srv.Shutdown(end)
}

func listen() (net.Listener, error) {
	if os.Getenv("LISTEN_FDS") == "" {
		return net.Listen("tcp", os.Getenv("CLEAVE_LISTEN"))
	}
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, fmt.Errorf("LISTEN_PID is %s, I am %d", os.Getenv("LISTEN_PID"), os.Getpid())
	}
	return net.FileListener(os.NewFile(3, "inherited"))
}

func notify(state string) error {
	conn, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(state))
	return err
}
