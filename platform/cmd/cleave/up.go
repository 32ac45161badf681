package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/cleave-go/cleave/platform/control"
	"github.com/cleave-go/cleave/platform/control/controlapi"
	"github.com/cleave-go/cleave/platform/manifest"
	"github.com/cleave-go/cleave/platform/supervisor"
	"github.com/cleave-go/cleave/platform/supervisor/lifecycle"
)

// patience is how long `up` waits before it says what is not ready yet. What
// fails again and again it says at once.
const patience = 30 * time.Second

type upFlags struct {
	topology string
	offset   int
	detach   bool
}

func (f *upFlags) declare(fs *flag.FlagSet) {
	fs.StringVar(&f.topology, "topology", "", "")
	fs.IntVar(&f.offset, "port-offset", 0, "")
	fs.BoolVar(&f.detach, "detach", false, "")
}

func (f *upFlags) up(ctx context.Context, e *env, args []string) error {
	dir := e.dir
	switch {
	case len(args) > 1 || (len(args) == 1 && dir != ""):
		return &usageError{"up takes one folder"}
	case len(args) == 1:
		dir = args[0]
	case dir == "":
		var err error
		if dir, err = manifest.Find("."); err != nil {
			return err
		}
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return &usageError{fmt.Sprintf("%s is not a folder; name the one that has %s", dir, manifest.FileName)}
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return err
	}
	e.dir = dir
	sup, err := f.supervisor(dir, e.err)
	if err != nil {
		return err
	}
	if f.detach {
		return f.detached(ctx, e, dir)
	}
	return f.foreground(ctx, e, sup, dir)
}

// supervisor checks cleave.yaml and the flags.
func (f *upFlags) supervisor(dir string, log io.Writer) (*supervisor.Supervisor, error) {
	sys, err := manifest.Load(dir)
	if err != nil {
		return nil, err
	}
	sup, err := supervisor.New(sys, &supervisor.Options{
		Topology: f.topology, PortOffset: f.offset, Detached: f.detach, Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		return nil, &usageError{err.Error()}
	}
	return sup, nil
}

// foreground runs the system until a signal comes.
func (f *upFlags) foreground(ctx context.Context, e *env, sup *supervisor.Supervisor, dir string) error {
	defer announce(dir)()
	ended := make(chan error, 1)
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		ended <- sup.Run(ctx)
		cancel()
	}()
	e.progress("building and starting " + filepath.Base(dir))
	said := teller{say: func(text string) { fmt.Fprintln(e.err, "cleave: "+text) }}
	for watch.Err() == nil {
		wait, done := context.WithTimeout(watch, time.Second)
		err := sup.WaitReady(wait)
		done()
		if err == nil {
			e.ready(sup.Status())
			break
		}
		said.look(sup.Status())
	}
	return <-ended
}

// teller says what keeps a system from being ready.
type teller struct {
	say   func(string)
	since time.Time
	said  map[string]bool
}

// look says what fails, each thing once, and now and then all that is missing.
func (t *teller) look(sys *controlapi.System) {
	if t.said == nil {
		t.said, t.since = map[string]bool{}, time.Now()
	}
	all := time.Since(t.since) > patience
	if all {
		t.since = time.Now()
	}
	for _, text := range troubles(sys, all) {
		if all || !t.said[text] {
			t.say(text)
		}
		t.said[text] = true
	}
}

// troubles lists what fails; with all, also what only takes its time.
func troubles(sys *controlapi.System, all bool) []string {
	var list []string
	for _, p := range sys.GetPrograms() {
		if p.GetProblem() != "" {
			list = append(list, p.GetName()+": "+p.GetProblem())
		}
		for _, i := range p.GetInstances() {
			switch phase := lifecycle.Phase(i.GetPhase()); {
			case phase == lifecycle.Ready || phase == lifecycle.Draining:
			case phase == lifecycle.Waiting && i.GetRestarts() > 0, phase == lifecycle.Failed:
				list = append(list, fmt.Sprintf("%s does not start: %s; `cleave logs %s` says more", i.GetId(), i.GetReason(), p.GetName()))
			case all:
				list = append(list, strings.TrimRight(fmt.Sprintf("%s is %s: %s", i.GetId(), phase, i.GetReason()), ": "))
			}
		}
	}
	return list
}

func (e *env) ready(sys *controlapi.System) {
	if e.json {
		e.print(sys)
		return
	}
	e.urls(sys)
}

// detached starts a supervisor that outlives this command and waits until the
// system is ready.
func (f *upFlags) detached(ctx context.Context, e *env, dir string) error {
	if pid := supervisor.Occupied(dir); pid != 0 {
		return &supervisor.RunningError{Dir: dir, PID: pid}
	}
	layout := supervisor.Layout{Dir: dir}
	if err := os.MkdirAll(layout.Logs(), 0o700); err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(layout.Logs(), "supervisor.log"), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(exe, "role", "supervisor", "--dir", dir, "--topology", f.topology, "--port-offset", strconv.Itoa(f.offset))
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	e.progress("building and starting " + filepath.Base(dir))
	client := control.Dial(layout.Socket())
	said := teller{say: func(text string) { fmt.Fprintln(e.err, "cleave: "+text) }}
	for {
		select {
		case <-ended:
			data, _ := os.ReadFile(log.Name())
			text := strings.TrimPrefix(strings.TrimSpace(string(data)), "cleave role supervisor: ")
			return &endedError{text, cmp.Or(max(0, cmd.ProcessState.ExitCode()), exitFailed)}
		case <-ctx.Done():
			return errors.New("interrupted; the system goes on starting, `cleave down` stops it")
		case <-time.After(50 * time.Millisecond):
		}
		sys, err := client.Status(ctx, &controlapi.StatusRequest{})
		if err != nil {
			continue
		}
		if sys.GetReady() {
			e.ready(sys)
			return nil
		}
		said.look(sys)
	}
}

// runSupervisor is the role behind `up --detach`.
func runSupervisor(ctx context.Context, args []string) error {
	f := upFlags{detach: true}
	fs := flag.NewFlagSet("supervisor", flag.ContinueOnError)
	dir := fs.String("dir", "", "")
	fs.StringVar(&f.topology, "topology", "", "")
	fs.IntVar(&f.offset, "port-offset", 0, "")
	if err := fs.Parse(args); err != nil {
		return err
	}
	sup, err := f.supervisor(*dir, os.Stderr)
	if err != nil {
		return err
	}
	defer announce(*dir)()
	return sup.Run(ctx)
}
