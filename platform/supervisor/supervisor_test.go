package supervisor_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cleave-go/cleave/platform/manifest"
	"github.com/cleave-go/cleave/platform/supervisor"
)

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTheTailOfALogIsWholeLines(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.log")
	for _, c := range []struct {
		name, text string
		n          int
		want       []string
	}{
		{"fewer than asked", "a\nb\n", 5, []string{"a", "b"}},
		{"more than asked", "a\nb\nc\n", 2, []string{"b", "c"}},
		{"an unfinished line is not there yet", "a\nb", 5, []string{"a"}},
		{"empty lines count", "a\n\n", 5, []string{"a", ""}},
		{"invalid text is made valid", "a\xff\n", 5, []string{"a\uFFFD"}},
		{"nothing", "", 5, nil},
	} {
		write(t, name, c.text)
		if got, _ := supervisor.Tail(name, c.n); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	long := strings.Repeat("x", 100_000)
	write(t, name, strings.Repeat(long+"\n", 30))
	got, end := supervisor.Tail(name, 1000)
	if len(got) == 0 || len(got) > 11 || len(got[0]) > 17_000 || end != 30*100_001 {
		t.Errorf("the tail of 3 MB is %d lines to %d", len(got), end)
	}
	if got, _ := supervisor.Tail(name+".missing", 3); got != nil {
		t.Errorf("a missing log has lines: %q", got)
	}
}

func TestFollowingALogMissesNothingAcrossItsRotation(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.log")
	write(t, name, "old\n")
	_, end := supervisor.Tail(name, 0)
	ctx, cancel := context.WithCancel(t.Context())
	lines := make(chan string)
	done := make(chan error)
	go func() {
		done <- supervisor.Follow(ctx, name, end, func(l string) error { lines <- l; return nil })
	}()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	say := func(line string) {
		t.Helper()
		fmt.Fprintln(f, line)
		if got := <-lines; got != line {
			t.Fatalf("got %q, want %q", got, line)
		}
	}
	say("one")
	say("two")
	fmt.Fprint(f, strings.Repeat(strings.Repeat("y", 1000)+"\n", supervisor.MaxLog/1000))
	for range supervisor.MaxLog / 1000 {
		<-lines
	}
	if err := supervisor.Rotate(name); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name + ".1"); err != nil || info.Size() < supervisor.MaxLog {
		t.Fatalf("the part before is not kept: %v", err)
	}
	say("three")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestTheGuardEndsWhatADeadSupervisorLeft(t *testing.T) {
	start := func() *exec.Cmd {
		cmd := exec.Command("sleep", "60")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	left, ended := start(), start()
	defer func() { _ = ended.Process.Kill(); _ = ended.Wait() }()
	text := fmt.Sprintf("+%d\n+%d\n-%d\nnonsense\n+1\n+0\n", left.Process.Pid, ended.Process.Pid, ended.Process.Pid)
	if err := supervisor.Guard(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	if err := left.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("got %v", err)
	}
	if err := ended.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the guard ended what was taken back: %v", err)
	}
}

func TestAnInheritedSocketStaysNonBlockingForAllWhoShareIt(t *testing.T) {
	f, done, err := supervisor.HeldSocket("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	defer f.Close()
	cmd := exec.Command("true")
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
		t.Errorf("flags %#x, %v: a program that waits in accept could not be stopped", flags, err)
	}
}

func TestAProcessIsToldFromALaterOneWithItsPid(t *testing.T) {
	birth := supervisor.BirthOf(os.Getpid())
	if !supervisor.Lives(os.Getpid(), birth) {
		t.Error("this process does not live")
	}
	if supervisor.Lives(os.Getpid(), birth+"1") {
		t.Error("another birth is taken for this process")
	}
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	if birth := supervisor.BirthOf(cmd.Process.Pid); birth != "" || supervisor.Lives(cmd.Process.Pid, "1") {
		t.Errorf("an ended process was born %q", birth)
	}
}

func TestABuildMakesProgramsNamedAfterTheirContent(t *testing.T) {
	t.Setenv("GOWORK", "off")
	dir := t.TempDir()
	write(t, filepath.Join(dir, "go.mod"), "module m\n\ngo 1.26\n")
	for _, p := range []string{"a/run", "b/run", "c"} {
		write(t, filepath.Join(dir, p, "main.go"), "package main\n\nfunc main() { println(\""+p+"\") }\n")
	}
	write(t, filepath.Join(dir, "lib", "lib.go"), "package lib\n")
	built, err := supervisor.Build(t.Context(), dir, "./a/run", "./b/run", "./c")
	if err != nil {
		t.Fatal(err)
	}
	for p, file := range built {
		out, err := exec.Command(file).CombinedOutput()
		if want := strings.TrimPrefix(p, "./") + "\n"; err != nil || string(out) != want {
			t.Errorf("%s: got %q, %v", p, out, err)
		}
	}
	again, err := supervisor.Build(t.Context(), dir, "./c")
	if err != nil || again["./c"] != built["./c"] {
		t.Errorf("the same source gave %q and %q: %v", built["./c"], again["./c"], err)
	}

	var broken *supervisor.BuildError
	write(t, filepath.Join(dir, "c", "main.go"), "package main\n\nfunc main() { nothing() }\n")
	if _, err := supervisor.Build(t.Context(), dir, "./a/run", "./c"); !errors.As(err, &broken) || !strings.Contains(broken.Output, "undefined: nothing") {
		t.Errorf("got %v", err)
	}
	if _, err := supervisor.Build(t.Context(), dir, "./lib", "./a/run"); err == nil || !strings.Contains(err.Error(), "is not a program") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(built["./c"]); err != nil {
		t.Errorf("a failed build removed what was there: %v", err)
	}
}

func TestOldProgramsAreRemovedButForTwoAndThoseInUse(t *testing.T) {
	dir := t.TempDir()
	bin := supervisor.Layout{Dir: dir}.Bin()
	for n := range 6 {
		name := filepath.Join(bin, fmt.Sprintf("orderd-%d", n))
		write(t, name, "x")
		at := time.Now().Add(time.Duration(n-10) * time.Minute)
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(bin, "new-123", "half"), "x")
	supervisor.Clean(dir, filepath.Join(bin, "orderd-0"))
	entries, _ := os.ReadDir(bin)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if want := []string{"orderd-0", "orderd-4", "orderd-5"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestVariablesMeantForTheSupervisorDoNotReachPrograms(t *testing.T) {
	for _, name := range []string{"CLEAVE_REGISTRY", "LISTEN_FDS", "NOTIFY_SOCKET", "PORT", "NATS_URL", "NATS_REPLICAS", "DATABASE_URL", "DATABASE_URL_ORDER"} {
		t.Setenv(name, "x")
	}
	t.Setenv("PORTAL", "kept")
	env := supervisor.Inherited()
	if slices.ContainsFunc(env, func(v string) bool { return strings.HasSuffix(v, "=x") }) {
		t.Errorf("got %v", env)
	}
	if !slices.Contains(env, "PORTAL=kept") {
		t.Error("PORTAL is lost")
	}
}

func TestNewRefusesWhatCannotRun(t *testing.T) {
	sys, err := manifest.Parse([]byte("system: s\nservices:\n  a: {run: ./a, listen: '127.0.0.1:60000'}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		opts supervisor.Options
		want string
	}{
		{supervisor.Options{Topology: "x"}, `no topology "x"`},
		{supervisor.Options{PortOffset: -1}, "port offset -1"},
		{supervisor.Options{PortOffset: 10_000}, "has no valid port"},
	} {
		if _, err := supervisor.New(sys, &c.opts); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

// A path too long for a socket's name has its sockets elsewhere.
func TestSocketsFitInDeepFolders(t *testing.T) {
	deep := supervisor.Layout{Dir: "/" + strings.Repeat("deep/", 40)}
	if got := deep.Socket(); len(got) > 100 {
		t.Errorf("%d bytes: %s", len(got), got)
	}
	if got := (supervisor.Layout{Dir: "/srv/shop"}).Socket(); got != "/srv/shop/.cleave/run/ctl.sock" {
		t.Errorf("got %s", got)
	}
}
