package acceptance_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const rate = 200 // requests a second

func TestNoRequestFailsWhileVersionsAreReplaced(t *testing.T) {
	s := start(t, "services")
	o := newOrders(t, newTown(t, s))
	l := startLoad(t, rate, o.call)
	began := time.Now()
	for round := 0; round == 0 || time.Since(began) < shorter(2*time.Minute, 10*time.Second); round++ {
		pause(time.Second)
		for _, step := range []string{"deploy order", "restart webbff", "scale order 2", "scale order 1"} {
			before := s.instances(t, strings.Fields(step)[1])
			l.enter(step)
			s.must(t, strings.Fields(step)...)
			l.enter("between")
			if after := s.instances(t, strings.Fields(step)[1]); after[0].PID == before[0].PID && !strings.HasPrefix(step, "scale") {
				t.Errorf("%s left %+v running", step, after[0])
			}
		}
		pause(time.Second)
	}
	l.stop()
	o.settled(t)
}

func TestABadVersionGoesBackWithoutAFailedRequest(t *testing.T) {
	s := start(t, "services")
	o := newOrders(t, newTown(t, s))
	before := s.instances(t, "order")
	l := startLoad(t, rate, o.call)
	for name, program := range map[string]string{
		"never gets ready": `package main; import "time"; func main() { time.Sleep(time.Hour) }`,
		"ends at once":     `package main; import "os"; func main() { os.Exit(3) }`,
	} {
		l.enter("a version that " + name)
		_, err := s.cli("deploy", "order", "--binary", compile(t, program), "--timeout", "3s")
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 6 {
			t.Errorf("a version that %s: got %v, want exit code 6", name, err)
		}
		after := s.instances(t, "order")
		if len(after) != 1 || after[0].PID != before[0].PID || after[0].Version != before[0].Version {
			t.Errorf("a version that %s: %+v runs, want %+v", name, after, before)
		}
	}
	l.enter("after")
	pause(time.Second)
	l.stop()
	o.settled(t)
}

// pause lets the traffic run.
func pause(d time.Duration) { <-time.After(d) }

// compile returns the path of a program.
func compile(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "main.go")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "program")
	if out, err := exec.Command("go", "build", "-o", name, file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return name
}
