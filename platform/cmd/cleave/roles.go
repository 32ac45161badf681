package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/platform/control"
	"github.com/cleave-go/cleave/platform/dashboard"
	"github.com/cleave-go/cleave/platform/issuer"
	"github.com/cleave-go/cleave/platform/messaging"
	"github.com/cleave-go/cleave/platform/registry"
	"github.com/cleave-go/cleave/platform/supervisor"
)

// role runs what the supervisor starts as processes of their own.
func role(ctx context.Context, name string, args []string) error {
	if mine, err := supervisor.Role(name, args); mine {
		return err
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	switch name {
	case "supervisor":
		return runSupervisor(ctx, args)
	case "registry":
		return runRegistry(ctx, args)
	case "broker":
		return runBroker(ctx, args)
	case "dashboard":
		return runDashboard(ctx, args)
	}
	return fmt.Errorf("there is no role of that name")
}

func runRegistry(ctx context.Context, args []string) error {
	o := registry.Options{Token: os.Getenv("CLEAVE_TOKEN"), Ready: func(registry.Faces) { notifyReady() }}
	fs := flag.NewFlagSet("registry", flag.ContinueOnError)
	fs.StringVar(&o.Listen, "listen", "", "")
	fs.StringVar(&o.DNS, "dns", "", "")
	fs.StringVar(&o.Dir, "dir", "", "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return err
	}
	return registry.Run(ctx, o)
}

func runBroker(ctx context.Context, args []string) error {
	o := messaging.Options{Token: os.Getenv("CLEAVE_TOKEN"), Ready: func(string) { notifyReady() }}
	fs := flag.NewFlagSet("broker", flag.ContinueOnError)
	fs.StringVar(&o.Listen, "listen", "", "")
	fs.StringVar(&o.Dir, "dir", "", "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	return messaging.Run(ctx, o)
}

// runDashboard serves the pages and, on an address of its own, the issuer's
// public keys.
func runDashboard(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("dashboard", flag.ContinueOnError)
	listen := fs.String("listen", "", "")
	keys := fs.String("issuer-listen", "", "")
	key := fs.String("issuer-key", "", "")
	system := fs.String("system", "", "")
	socket := fs.String("socket", "", "")
	registryURL := fs.String("registry", "", "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	is, err := issuer.Open(*key, "http://"+*keys, *system)
	if err != nil {
		return err
	}
	client, err := discovery.NewClient(*registryURL, "", &discovery.ClientOptions{Name: "dashboard"})
	if err != nil {
		return err
	}
	pages, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	defer pages.Close()
	jwks, err := net.Listen("tcp", *keys)
	if err != nil {
		return err
	}
	defer jwks.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 2)
	go func() {
		ended <- dashboard.Serve(ctx, pages, dashboard.New(control.Dial(*socket), client.API()).Handler())
	}()
	go func() { ended <- dashboard.Serve(ctx, jwks, is.Handler()) }()
	notifyReady()
	err = <-ended
	cancel()
	return errors.Join(err, <-ended)
}

// notifyReady tells the supervisor that the role can be used.
func notifyReady() {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		slog.Warn("readiness", "error", err)
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte("READY=1"))
}
