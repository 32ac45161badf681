package kit

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver that postgres: URLs name
	_ "modernc.org/sqlite"             // the driver that sqlite: URLs name

	"github.com/cleave-go/cleave/service"
)

// Service is a built-in service and its name.
type Service = service.Named

// Main runs one service and exits.
func Main(name string, create service.Service) { MainAll(Service{Name: name, New: create}) }

// MainAll runs the services that CLEAVE_SERVICES chooses, all by default, in
// one process and exits.
func MainAll(services ...Service) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process
	os.Exit(run(ctx, os.Args, os.Environ(), os.Stdout, os.Stderr, services))
}

// The exit statuses.
const (
	exitOK = iota
	exitFailed
	exitUsage
)

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer, services []Service) int {
	flags := flag.NewFlagSet(filepath.Base(args[0]), flag.ContinueOnError)
	flags.SetOutput(stderr)
	describe := flags.Bool("describe", false, "print as JSON what this binary offers and needs, and exit")
	flags.Usage = func() { usage(flags, services) }
	switch err := flags.Parse(args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	case flags.NArg() > 0:
		fmt.Fprintf(stderr, "%s: unexpected argument %q: configuration is the environment, see -h\n", flags.Name(), flags.Arg(0))
		return exitUsage
	}
	if *describe {
		if err := service.Describe(ctx, services, stdout); err != nil {
			fmt.Fprintf(stderr, "%s: %v\n", flags.Name(), err)
			return exitFailed
		}
		return exitOK
	}
	level := &slog.LevelVar{}
	logger, err := newLogger(stderr, level, environ)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", flags.Name(), err)
		return exitUsage
	}
	slog.SetDefault(logger)
	t, err := newTelemetry(ctx, environ, services)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", flags.Name(), err)
		return exitUsage
	}
	err = service.Run(ctx, services, &service.Options{
		Environ: environ, Logger: logger, Tracer: t.tracer(), Meter: t.meter(), Metrics: t.metrics, LogLevel: level,
	})
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if ferr := t.shutdown(flush); ferr != nil {
		logger.Warn("telemetry was not sent", "error", ferr)
	}
	if err != nil {
		logger.Error("ended", "error", err)
		return exitFailed
	}
	return exitOK
}

func usage(flags *flag.FlagSet, services []Service) {
	out := flags.Output()
	names := make([]string, len(services))
	for i, s := range services {
		names[i] = s.Name
	}
	fmt.Fprintf(out, "%s hosts: %s\n\nFlags:\n", flags.Name(), strings.Join(names, ", "))
	flags.PrintDefaults()
	fmt.Fprintf(out, "\nEnvironment:\n")
	for _, v := range service.Environment() {
		fmt.Fprintf(out, "  %-26s %s\n", v.Name, v.Meaning)
	}
}

func newLogger(out io.Writer, level *slog.LevelVar, environ []string) (*slog.Logger, error) {
	if text := lookup(environ, "CLEAVE_LOG"); text != "" {
		if err := level.UnmarshalText([]byte(text)); err != nil {
			return nil, fmt.Errorf("CLEAVE_LOG=%q: use debug, info, warn or error", text)
		}
	}
	return slog.New(service.TraceHandler(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level, ReplaceAttr: readable}))), nil
}

// readable writes durations as 1.5ms; JSON would have nanoseconds.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

func lookup(environ []string, name string) string {
	value := ""
	for _, v := range environ {
		if n, x, _ := strings.Cut(v, "="); n == name {
			value = x
		}
	}
	return value
}
