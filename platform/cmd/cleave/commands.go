package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cleave-go/cleave/platform/control"
	"github.com/cleave-go/cleave/platform/control/controlapi"
	"github.com/cleave-go/cleave/platform/supervisor"
)

func commands() map[string]command {
	up, logs, deploy, token := &upFlags{}, &logsFlags{}, &deployFlags{}, &tokenFlags{}
	line := &pipelineFlags{}
	events, views, sagas := &eventsFlags{}, &projectionFlags{}, &sagaFlags{}
	return map[string]command{
		"up":         {flags: up.declare, run: up.up},
		"down":       {run: down},
		"status":     {run: status},
		"logs":       {flags: logs.declare, run: logs.run},
		"scale":      {run: scale},
		"restart":    {run: restart},
		"deploy":     {flags: deploy.declare, run: deploy.run},
		"token":      {flags: token.declare, run: token.run},
		"exec":       {run: execute, stop: true},
		"pipeline":   {flags: line.declare, run: line.run},
		"events":     {flags: events.declare, run: events.run},
		"projection": {flags: views.declare, run: views.run},
		"saga":       {flags: sagas.declare, run: sagas.run},
		"version":    {run: version},
	}
}

func down(ctx context.Context, e *env, args []string) error {
	if len(args) > 0 {
		return &usageError{"down takes no argument; name the system's folder with --dir"}
	}
	dir, err := e.system()
	if err != nil {
		return err
	}
	pid := supervisor.Running(dir)
	if pid != 0 {
		lost := e.drain(control.Dial(supervisor.Layout{Dir: dir}.Socket()).Down(ctx, &controlapi.DownRequest{}))
		if err := ended(ctx, dir, pid, lost); err != nil {
			return err
		}
		if lost == nil {
			e.done("")
			return nil
		}
	}
	n, err := supervisor.Sweep(dir)
	switch {
	case err != nil:
		return err
	case n == 0 && pid == 0:
		return &notRunningError{}
	}
	e.done(fmt.Sprintf("ended %d processes that a lost supervisor had left", n))
	return nil
}

// ended waits until the supervisor has. One that did not take the order, which
// failed with lost, has two seconds to turn out to be dying; else lost is returned.
func ended(ctx context.Context, dir string, pid int, lost error) error {
	patience := make(<-chan time.Time)
	if lost != nil {
		patience = time.After(2 * time.Second)
	}
	for supervisor.Running(dir) == pid {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-patience:
			return lost
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// done reports success: a line of JSON, or the text if there is one.
func (e *env) done(text string) {
	switch {
	case e.json:
		e.print(map[string]any{"ok": true})
	case text != "":
		fmt.Fprintln(e.out, text)
	}
}

func status(ctx context.Context, e *env, args []string) error {
	if len(args) > 0 {
		return &usageError{"status takes no argument"}
	}
	client, err := e.dial()
	if err != nil {
		return err
	}
	sys, err := client.Status(ctx, &controlapi.StatusRequest{})
	if err != nil {
		return err
	}
	if e.json {
		e.print(sys)
	} else {
		e.table(sys)
	}
	return nil
}

type logsFlags struct {
	lines  int
	follow bool
}

func (f *logsFlags) declare(fs *flag.FlagSet) {
	fs.IntVar(&f.lines, "n", 100, "")
	fs.IntVar(&f.lines, "lines", 100, "")
	fs.BoolVar(&f.follow, "f", false, "")
	fs.BoolVar(&f.follow, "follow", false, "")
}

func (f *logsFlags) run(ctx context.Context, e *env, args []string) error {
	client, err := e.dial()
	if err != nil {
		return err
	}
	stream, err := client.Logs(ctx, &controlapi.LogsRequest{Names: args, Lines: int32(f.lines), Follow: f.follow})
	if err != nil {
		return err
	}
	defer stream.Close()
	for {
		line, err := stream.Receive()
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if e.json {
			e.print(line)
		} else {
			fmt.Fprintf(e.out, "%-16s %s\n", line.GetInstance(), line.GetText())
		}
	}
}

func scale(ctx context.Context, e *env, args []string) error {
	if len(args) == 1 {
		if name, n, ok := strings.Cut(args[0], "="); ok {
			args = []string{name, n}
		}
	}
	if len(args) != 2 {
		return &usageError{"scale takes a service and a number: cleave scale order 2"}
	}
	n, err := strconv.ParseInt(args[1], 10, 32)
	if err != nil {
		return &usageError{fmt.Sprintf("%q is not a number of instances", args[1])}
	}
	client, err := e.dial()
	if err != nil {
		return err
	}
	return e.finish(e.drain(client.Scale(ctx, &controlapi.ScaleRequest{Name: args[0], Replicas: int32(n)})))
}

func (e *env) finish(err error) error {
	if err == nil {
		e.done("")
	}
	return err
}

func restart(ctx context.Context, e *env, args []string) error {
	if len(args) != 1 {
		return &usageError{"restart takes one service or role"}
	}
	client, err := e.dial()
	if err != nil {
		return err
	}
	return e.finish(e.drain(client.Restart(ctx, &controlapi.RestartRequest{Name: args[0]})))
}

type deployFlags struct {
	binary  string
	timeout time.Duration
}

func (f *deployFlags) declare(fs *flag.FlagSet) {
	fs.StringVar(&f.binary, "binary", "", "")
	fs.DurationVar(&f.timeout, "timeout", supervisor.Grace, "")
}

func (f *deployFlags) run(ctx context.Context, e *env, args []string) error {
	if len(args) != 1 {
		return &usageError{"deploy takes one service"}
	}
	if f.timeout < time.Second {
		return &usageError{fmt.Sprintf("--timeout %s: it must be 1s or more", f.timeout)}
	}
	if f.binary != "" {
		abs, err := filepath.Abs(f.binary)
		if err != nil {
			return err
		}
		f.binary = abs
	}
	client, err := e.dial()
	if err != nil {
		return err
	}
	return e.finish(e.drain(client.Deploy(ctx, &controlapi.DeployRequest{Name: args[0], Binary: f.binary, ReadySeconds: int32(f.timeout / time.Second)})))
}

type tokenFlags struct {
	sub   string
	roles []string
	ttl   time.Duration
}

func (f *tokenFlags) declare(fs *flag.FlagSet) {
	fs.StringVar(&f.sub, "sub", "", "")
	fs.DurationVar(&f.ttl, "ttl", 24*time.Hour, "")
	fs.Func("role", "", func(v string) error {
		f.roles = append(f.roles, strings.Split(v, ",")...)
		return nil
	})
}

func (f *tokenFlags) run(ctx context.Context, e *env, args []string) error {
	if len(args) > 0 || f.sub == "" {
		return &usageError{"token needs --sub: cleave token --sub c-1 --role consumer"}
	}
	client, err := e.dial()
	if err != nil {
		return err
	}
	res, err := client.Token(ctx, &controlapi.TokenRequest{Subject: f.sub, Roles: f.roles, TtlSeconds: int32(f.ttl / time.Second)})
	if err != nil {
		return err
	}
	if e.json {
		e.print(res)
	} else {
		fmt.Fprintln(e.out, res.GetToken())
	}
	return nil
}

// mine are variables of the terminal that exec keeps.
var mine = []string{"TERM", "PWD", "OLDPWD", "SHLVL", "COLUMNS", "LINES"}

func execute(ctx context.Context, e *env, args []string) error {
	if len(args) < 2 {
		return &usageError{"exec takes a service and a command: cleave exec order -- dlv debug ./order/cmd/orderd"}
	}
	client, err := e.dial()
	if err != nil {
		return err
	}
	res, err := client.Environment(ctx, &controlapi.EnvironmentRequest{Service: args[0]})
	if err != nil {
		return err
	}
	path, err := exec.LookPath(args[1])
	if err != nil {
		return &usageError{err.Error()}
	}
	environ := slices.DeleteFunc(res.GetEnvironment(), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(mine, name)
	})
	for _, name := range mine {
		if v, ok := os.LookupEnv(name); ok {
			environ = append(environ, name+"="+v)
		}
	}
	return syscall.Exec(path, args[1:], environ)
}
