// Command cleave runs a system of services on this machine: it builds what
// cleave.yaml names, starts it with everything it needs, and keeps it running.
//
// See `cleave help`.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/platform/control"
	"github.com/cleave-go/cleave/platform/manifest"
	"github.com/cleave-go/cleave/platform/supervisor"
)

// Exit codes, for scripts.
const (
	exitFailed     = 1 // it did not work; the text says why
	exitUsage      = 2 // the command line or cleave.yaml is wrong
	exitNotRunning = 3 // the system is not up
	exitNotFound   = 4 // no such service, topology or file
	exitBusy       = 5 // somebody else is at it, or the system is up already
	exitRefused    = 6 // a build failed, or a new version did not become ready; the old one runs
)

const usage = `cleave runs a system of services on this machine.

  cleave up [DIR] [--topology NAME] [--detach] [--port-offset N]
                                    build and run DIR/cleave.yaml
  cleave down                       stop it, in order
  cleave status                     services, instances, addresses
  cleave logs [NAME…] [-n LINES] [-f]
  cleave scale NAME N               run N instances; 0 holds a service or a role down
  cleave restart NAME               replace every instance, the new one first
  cleave deploy SERVICE [--binary FILE] [--timeout D]
                                    build anew and replace; back to the old version when the new one does not become ready
  cleave token --sub ID [--role R]… [--ttl D]
                                    a token from the development issuer
  cleave exec SERVICE -- COMMAND…   run COMMAND with the environment of SERVICE, beside the system
  cleave pipeline run [SERVICE…] [--stage NAME]… [--force]
                                    pre-commit, commit, integration, component, deploy; without SERVICE for every service
  cleave pipeline hook install      judge what is staged before each git commit
  cleave events tail SERVICE [-n N] [-f]
  cleave events show SERVICE POSITION|STREAM
  cleave events replay SERVICE [--after N]
                                    all events in order, as lines of JSON
  cleave events epoch SERVICE [--after N]
                                    go on with a table that was restored from an older copy
  cleave projection status|parked [SERVICE]
  cleave projection rebuild SERVICE NAME
  cleave projection retry SERVICE NAME STREAM…|--all
  cleave saga list [SERVICE] [--stuck] [--ended]
  cleave saga show|resume SERVICE ID
  cleave saga undo SERVICE ID [--reason TEXT]
  cleave version

Every command takes --json and --dir DIR. Without --dir it acts on the system of the current folder or of one above it,
else on the only one that is up. State lies in DIR/.cleave, or where CLEAVE_STATE says.

Exit codes: 0 done, 1 failed, 2 usage or cleave.yaml, 3 not up, 4 no such name, 5 busy or up already, 6 build or new version refused.
`

// command is one verb. It gets its flag set to declare flags on before args are
// parsed into positional ones.
type command struct {
	flags func(*flag.FlagSet)
	run   func(ctx context.Context, e *env, args []string) error
	stop  bool // whether flags end at the first positional argument
}

// env is what every command gets.
type env struct {
	out, err io.Writer
	json     bool
	dir      string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, out, errs io.Writer) int {
	if len(args) > 1 && args[0] == "role" {
		if err := role(ctx, args[1], args[2:]); err != nil {
			fmt.Fprintf(errs, "cleave role %s: %v\n", args[1], err)
			code, _ := classify(err)
			return code
		}
		return 0
	}
	if len(args) == 0 || args[0] == "help" || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprint(out, usage)
		if len(args) == 0 {
			return exitUsage
		}
		return 0
	}
	c, ok := commands()[args[0]]
	e := &env{out: out, err: errs, json: slices.Contains(args, "--json") || slices.Contains(args, "-json")}
	if !ok {
		return e.fail(&usageError{fmt.Sprintf("there is no command %q; `cleave help` lists them", args[0])})
	}
	fs := flag.NewFlagSet("cleave "+args[0], flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.BoolVar(&e.json, "json", e.json && !c.stop, "")
	fs.StringVar(&e.dir, "dir", "", "")
	if c.flags != nil {
		c.flags(fs)
	}
	rest, err := parse(fs, args[1:], c.stop)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, usage)
		return 0
	case err != nil:
		return e.fail(&usageError{err.Error() + "; see `cleave help`"})
	}
	if err := c.run(ctx, e, rest); err != nil {
		return e.fail(err)
	}
	return 0
}

// parse reads flags wherever they stand; "--" ends them.
func parse(fs *flag.FlagSet, args []string, stop bool) ([]string, error) {
	var rest []string
	for len(args) > 0 {
		if args[0] == "--" {
			return append(rest, args[1:]...), nil
		}
		if _, err := strconv.Atoi(args[0]); err != nil { // -1 is a number, if a bad one
			if err := fs.Parse(args); err != nil {
				return nil, err
			}
			consumed := args[:len(args)-fs.NArg()]
			args = fs.Args()
			if len(consumed) > 0 && consumed[len(consumed)-1] == "--" {
				return append(rest, args...), nil
			}
			if len(args) == 0 {
				break
			}
		}
		rest, args = append(rest, args[0]), args[1:]
		if stop && len(rest) > 1 {
			return append(rest, args...), nil
		}
	}
	return rest, nil
}

// usageError says what is wrong with the command line.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }

// endedError is how the supervisor that a command started ended.
type endedError struct {
	text string
	code int
}

func (e *endedError) Error() string { return e.text }

// names are the codes in the JSON form of an error that only an exit code is
// known of.
var names = map[int]string{
	exitFailed: "failed", exitUsage: "usage", exitNotRunning: "not_running", exitNotFound: "not_found", exitBusy: "busy", exitRefused: "build_failed",
}

// fail prints an error and returns the exit code it stands for.
func (e *env) fail(err error) int {
	code, name := classify(err)
	text := err.Error()
	var remote *connect.Error
	if errors.As(err, &remote) {
		text = remote.Message()
	}
	if code == exitNotRunning {
		text = strings.TrimSpace("the system is not up; start it with `cleave up`")
		if e.dir != "" {
			text = "the system in " + e.dir + " is not up; start it with `cleave up " + e.dir + "`"
		}
	}
	if e.json {
		e.print(map[string]any{"error": map[string]any{"code": name, "message": text}})
	} else {
		fmt.Fprintln(e.err, "cleave: "+text)
	}
	return code
}

func classify(err error) (code int, name string) {
	var (
		usage    *usageError
		problem  *manifest.Problem
		running  *supervisor.RunningError
		taken    *supervisor.TakenError
		broken   *supervisor.BuildError
		notThere *notRunningError
		ended    *endedError
	)
	switch {
	case errors.As(err, &ended):
		return ended.code, names[ended.code]
	case errors.As(err, &usage), errors.As(err, &problem):
		return exitUsage, "usage"
	case errors.As(err, &running):
		return exitBusy, "running"
	case errors.As(err, &taken):
		return exitBusy, "address_taken"
	case errors.As(err, &broken):
		return exitRefused, "build_failed"
	case errors.Is(err, manifest.ErrNotFound):
		return exitNotFound, "no_system"
	case errors.As(err, &notThere), control.NotRunning(err):
		return exitNotRunning, "not_running"
	}
	switch connect.CodeOf(err) {
	case connect.CodeInvalidArgument:
		return exitUsage, "usage"
	case connect.CodeNotFound:
		return exitNotFound, "not_found"
	case connect.CodeAborted:
		return exitBusy, "busy"
	case connect.CodeFailedPrecondition:
		return exitRefused, "refused"
	}
	return exitFailed, "failed"
}

func version(_ context.Context, e *env, args []string) error {
	if len(args) > 0 {
		return &usageError{"version takes no argument"}
	}
	v := map[string]any{"version": "devel", "go": ""}
	if info, ok := debug.ReadBuildInfo(); ok {
		v["go"] = info.GoVersion
		if info.Main.Version != "" && info.Main.Version != "(devel)" {
			v["version"] = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v["revision"] = s.Value
			}
		}
	}
	if e.json {
		e.print(v)
		return nil
	}
	fmt.Fprintf(e.out, "cleave %v (%v)\n", v["version"], v["go"])
	return nil
}
