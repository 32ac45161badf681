package supervisor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/cleave-go/cleave/platform/supervisor/lifecycle"
)

// instance carries out what lifecycle decides for one process after another.
type instance struct {
	sup    *Supervisor
	prog   *program
	id     string
	policy lifecycle.Policy
	events chan lifecycle.Event
	done   chan struct{} // closed when nothing will happen any more

	// Guarded by sup.mu.
	next artifact // what the next process runs

	// Guarded by sup.mu for all but run, which alone writes them.
	state     lifecycle.State
	art       artifact
	port      int // 0: its addresses are fixed, or it has none
	adminPort int
	fixed     string // the address of a program that opens its fixed address itself
	sockets   int    // how many it inherits
	proc      *process
	since     time.Time

	// Used by run alone.
	queue  []lifecycle.Event
	prober *prober
	leave  []func(wait bool) // withdraws its registrations
}

func (i *instance) send(e lifecycle.Event) {
	select {
	case i.events <- e:
	case <-i.done:
	}
}

// run handles events one after the other until the instance is final.
func (i *instance) run() {
	defer close(i.done)
	defer i.release()
	for {
		var e lifecycle.Event
		if len(i.queue) > 0 {
			e, i.queue = i.queue[0], i.queue[1:]
		} else {
			e = <-i.events
		}
		next, actions := lifecycle.Step(i.policy, i.state, e)
		i.sup.update(func() {
			if next.Phase != i.state.Phase {
				i.since = time.Now()
			}
			i.state = next
			if !next.Alive {
				i.proc = nil
			}
		})
		for _, a := range actions {
			i.do(a)
		}
		if next.Final() && !next.Alive {
			return
		}
	}
}

func (i *instance) post(k lifecycle.Kind, run int, reason string) {
	i.queue = append(i.queue, lifecycle.Event{Kind: k, Run: run, Reason: reason})
}

func (i *instance) do(a lifecycle.Action) {
	switch a.Do {
	case lifecycle.Spawn:
		i.spawn(a.Run)
	case lifecycle.Probe:
		i.probe(a.Run)
	case lifecycle.StopProbe:
		i.prober.quiet()
	case lifecycle.Register:
		i.register()
	case lifecycle.Deregister:
		i.withdraw(false)
		i.takeOut()
	case lifecycle.Drain:
		leave := i.leave
		i.leave = nil
		go func() {
			for _, f := range leave {
				f(true)
			}
			i.send(lifecycle.Event{Kind: lifecycle.Drained, Run: a.Run})
		}()
	case lifecycle.Term:
		i.proc.signal(syscall.SIGTERM)
	case lifecycle.Kill:
		i.note("killed: " + i.state.Reason)
		i.proc.signal(syscall.SIGKILL)
	case lifecycle.After:
		time.AfterFunc(a.Delay, func() { i.send(a.Event) })
	}
}

// spawn starts a process and answers Spawned or SpawnFailed.
func (i *instance) spawn(run int) {
	proc, err := i.start()
	if err != nil {
		i.note(err.Error())
		i.post(lifecycle.SpawnFailed, run, err.Error())
		return
	}
	i.sup.update(func() { i.proc = proc })
	i.sup.warden.add(proc.pid)
	i.post(lifecycle.Spawned, run, "")
	go i.await(proc, run)
}

func (i *instance) await(proc *process, run int) {
	how := proc.wait()
	i.sup.warden.remove(proc.pid)
	i.note(how)
	if lines, _ := tail(i.log(), 2); len(lines) > 1 && !strings.Contains(lines[0], noteMark) {
		how += "; last line: " + lines[0]
	}
	i.send(lifecycle.Event{Kind: lifecycle.Exited, Run: run, Reason: how})
}

func (i *instance) start() (*process, error) {
	i.prober.stop()
	i.prober = nil
	notify, err := listenNotify(i.sup.layout.notify(i.id))
	if err != nil {
		return nil, fmt.Errorf("readiness socket: %w", err)
	}
	i.prober = notify
	log, err := openLog(i.log())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	i.sup.update(func() { i.art = i.next })
	env := i.sup.environment(i.prog, i)
	argv := i.argv(env)
	files, names, err := i.prog.socketFiles(i.art)
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	if err != nil {
		return nil, err
	}
	if len(files) > 0 {
		argv = append([]string{i.sup.opts.Executable, "role", "exec"}, argv...)
		env = append(env, fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	if !strings.Contains(argv[0], "/") {
		if cmd.Path, err = exec.LookPath(argv[0]); err != nil {
			return nil, fmt.Errorf("%s is not in PATH; install it, or change run of %s in cleave.yaml", argv[0], i.prog.spec.Name)
		}
		cmd.Err = nil
	} else if !filepath.IsAbs(argv[0]) {
		cmd.Path, cmd.Err = filepath.Join(i.sup.sys.Dir, argv[0]), nil
	}
	cmd.Dir, cmd.Env, cmd.ExtraFiles = i.sup.sys.Dir, env, files
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = attributes(!i.sup.opts.Detached)
	i.sup.update(func() { i.sockets = len(files) })
	i.note(fmt.Sprintf("%s%s %s", startMark, i.prog.spec.Run, i.version()))
	proc, err := i.sup.launcher.start(cmd)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	return proc, nil
}

// argv returns the command of the instance; $NAME in the arguments of a command
// line stands for what the program's environment has.
func (i *instance) argv(env []string) []string {
	if i.art.path != "" {
		return []string{i.art.path}
	}
	argv := append([]string(nil), i.prog.spec.Run.Command...)
	if !i.prog.spec.Run.Expand {
		return argv
	}
	values := map[string]string{}
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		values[name] = value
	}
	for k := range argv {
		argv[k] = os.Expand(argv[k], func(name string) string { return values[name] })
	}
	return argv
}

// probe watches for readiness: what the program says counts; an address that
// accepts connections counts for a program that cannot say it.
func (i *instance) probe(run int) {
	say := func(ready bool, why string) {
		kind := lifecycle.BecameUnready
		if ready {
			kind = lifecycle.BecameReady
		}
		i.send(lifecycle.Event{Kind: kind, Run: run, Reason: why})
	}
	adopted := i.state.Phase == lifecycle.Ready
	if i.prober == nil {
		p, err := listenNotify(i.sup.layout.notify(i.id))
		if err != nil {
			i.note("readiness socket: " + err.Error())
			return
		}
		i.prober = p
	}
	p := i.prober
	go p.notified(say)
	if i.prog.speaks(i.art) {
		return
	}
	address := i.address()
	if address == "" {
		i.post(lifecycle.BecameReady, run, "")
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go dial(ctx, address, adopted, say)
}

// release gives back what the instance held.
func (i *instance) release() {
	i.withdraw(false)
	i.prober.stop()
	for _, port := range []int{i.port, i.adminPort} {
		if port != 0 {
			i.sup.ports.release(port)
		}
	}
}

// address returns where the instance is called, "" when nowhere.
func (i *instance) address() string {
	switch {
	case i.fixed != "":
		return i.fixed
	case i.port != 0:
		return fmt.Sprintf("127.0.0.1:%d", i.port)
	}
	return ""
}

// called returns where people call the instance: a gateway at its fixed address.
func (i *instance) called() string {
	if i.prog.role {
		return i.prog.at
	}
	if len(i.prog.spec.Hosts) == 1 && i.prog.spec.Hosts[0].Listen != "" {
		return i.prog.spec.Hosts[0].Listen
	}
	return i.address()
}

func (i *instance) admin() string {
	if i.adminPort == 0 {
		return ""
	}
	return fmt.Sprintf("127.0.0.1:%d", i.adminPort)
}

func (i *instance) version() string { return i.art.version }

func (i *instance) log() string { return i.sup.layout.log(i.id) }

// A note's marks: that it is one, and that it is of a start.
const (
	noteMark  = " cleave: "
	startMark = "starts "
)

// note writes a line of the supervisor's own into the instance's log.
func (i *instance) note(line string) {
	f, err := openLog(i.log())
	if err != nil {
		return
	}
	defer f.Close()
	fmt.Fprintf(f, "%s%s%s: %s\n", time.Now().Format("15:04:05.000"), noteMark, i.id, line)
}
