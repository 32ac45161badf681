package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/discovery/registryapi"
	"github.com/cleave-go/cleave/platform/control/controlapi"
)

// The test binary is the command too: the supervisor starts its roles from it.
func TestMain(m *testing.M) {
	if os.Getenv("TEST_AS_CLEAVE") != "" {
		main()
	}
	os.Exit(m.Run())
}

// toy is a copy of testdata/toy at ports of its own.
type toy struct {
	t      *testing.T
	dir    string
	tmp    string // where the running systems are noted
	offset int
}

func newToy(t *testing.T) *toy {
	t.Helper()
	if _, err := exec.LookPath("python3"); err != nil {
		t.Fatal("python3 is needed: apt-get install python3")
	}
	dir := filepath.Join(t.TempDir(), "toy")
	if err := os.CopyFS(dir, os.DirFS("testdata/toy")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "go.mod.txt"), filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	y := &toy{t: t, dir: dir, tmp: t.TempDir(), offset: freeOffset(t)}
	t.Cleanup(func() { y.cleave("down") })
	return y
}

// freeOffset finds a port offset at which nobody listens.
func freeOffset(t *testing.T) int {
	for range 100 {
		offset := 1000 + rand.IntN(9000)
		taken := false
		for _, port := range []int{8053, 8761, 9000, 9001, 18080} {
			ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port+offset))
			if taken = taken || err != nil; err == nil {
				ln.Close()
			}
		}
		if !taken {
			return offset
		}
	}
	t.Fatal("no free port offset")
	return 0
}

func (y *toy) command(args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Dir = y.dir
	cmd.Env = append(os.Environ(), "TEST_AS_CLEAVE=1", "GOWORK=off", "GOFLAGS=", "TMPDIR="+y.tmp)
	return cmd
}

// cleave runs a command and returns what it printed and its exit code.
func (y *toy) cleave(args ...string) (out string, code int) {
	y.t.Helper()
	cmd := y.command(args...)
	data, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		y.t.Fatal(err)
	}
	return string(data), cmd.ProcessState.ExitCode()
}

// must runs a command that has to succeed.
func (y *toy) must(args ...string) string {
	y.t.Helper()
	out, code := y.cleave(args...)
	if code != 0 {
		y.t.Fatalf("cleave %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

func (y *toy) up(args ...string) {
	y.t.Helper()
	y.must(append([]string{"up", "--detach", "--port-offset", fmt.Sprint(y.offset)}, args...)...)
}

func (y *toy) status() *controlapi.System {
	y.t.Helper()
	var sys controlapi.System
	if err := protojson.Unmarshal([]byte(y.must("status", "--json")), &sys); err != nil {
		y.t.Fatal(err)
	}
	return &sys
}

// pids returns the process of each instance.
func (y *toy) pids() map[string]int {
	pids := map[string]int{}
	for _, p := range y.status().GetPrograms() {
		for _, i := range p.GetInstances() {
			pids[i.GetId()] = int(i.GetPid())
		}
	}
	return pids
}

func (y *toy) url(port int, path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", port+y.offset, path)
}

func (y *toy) front() string { return y.get(y.url(18080, "/")) }

func (y *toy) get(url string) string {
	y.t.Helper()
	body, err := get(url)
	if err != nil {
		y.t.Fatal(err)
	}
	return body
}

func get(url string) (string, error) {
	res, err := http.Get(url)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, res.Status)
	}
	return string(body), err
}

func (y *toy) edit(file, from, to string) {
	y.t.Helper()
	name := filepath.Join(y.dir, file)
	data, err := os.ReadFile(name)
	if err != nil || !bytes.Contains(data, []byte(from)) {
		y.t.Fatalf("%s has no %q: %v", file, from, err)
	}
	if err := os.WriteFile(name, bytes.ReplaceAll(data, []byte(from), []byte(to)), 0o600); err != nil {
		y.t.Fatal(err)
	}
}

// eventually asks until ok, for at most 20 seconds.
func (y *toy) eventually(what string, ok func() bool) {
	y.t.Helper()
	ctx, cancel := context.WithTimeout(y.t.Context(), 20*time.Second)
	defer cancel()
	for !ok() {
		select {
		case <-ctx.Done():
			y.t.Fatalf("not within 20 s: %s", what)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// alive reports whether a process exists and is not only waiting to be reaped.
func alive(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil && !os.IsNotExist(err)
	}
	return !bytes.Contains(data, []byte(") Z "))
}

func TestUpRunsWhatTheFileNamesAndDownEndsIt(t *testing.T) {
	y := newToy(t)
	y.up()
	sys := y.status()
	if !sys.GetReady() || len(sys.GetPrograms()) != 6 {
		t.Fatalf("got %v", sys)
	}
	if got := y.front(); !strings.HasPrefix(got, "front version 1 ") {
		t.Errorf("front says %q", got)
	}
	pids := y.pids()
	if len(pids) != 7 {
		t.Errorf("got instances %v, want 3 roles, 2 echo, front, py", pids)
	}

	t.Run("a program that knows nothing of cleave is registered and has a virtual address", func(t *testing.T) {
		vip, addr := y.lookup("py")
		for _, a := range []string{vip, addr} {
			if got := y.get("http://" + a + "/"); got != "py says hello\n" {
				t.Errorf("%s says %q", a, got)
			}
		}
	})
	t.Run("a second up fails and names the first one's pid", func(t *testing.T) {
		out, code := y.cleave("up")
		if code != exitBusy || !strings.Contains(out, fmt.Sprintf("(pid %d)", sys.GetPid())) {
			t.Errorf("exit code %d: %s", code, out)
		}
	})
	t.Run("a token is signed by the key that the issuer publishes", func(t *testing.T) {
		token := strings.Split(strings.TrimSpace(y.must("token", "--sub", "c-1", "--role", "consumer")), ".")
		if len(token) != 3 || !strings.Contains(y.get(y.url(9001, "/jwks.json")), `"alg":"ES256"`) {
			t.Errorf("got %v", token)
		}
		if out, code := y.cleave("token", "--role", "admin"); code != exitUsage || !strings.Contains(out, "--sub") {
			t.Errorf("exit code %d: %s", code, out)
		}
	})
	t.Run("exec gives a command the service's environment", func(t *testing.T) {
		out := y.must("exec", "echo", "--", "sh", "-c", "echo $CLEAVE_SERVICES $DATABASE_URL $CLEAVE_REGISTRY $CLEAVE_AUDIENCE")
		want := fmt.Sprintf("echo sqlite:%s/.cleave/data/{service}.db %s toy\n", y.dir, y.url(8761, ""))
		if out != want {
			t.Errorf("got %q, want %q", out, want)
		}
	})
	t.Run("logs shows what instances print", func(t *testing.T) {
		if out := y.must("logs", "py"); !strings.Contains(out, "py listens on") || strings.Contains(out, "front") {
			t.Errorf("got %s", out)
		}
		line := map[string]string{}
		first, _, _ := strings.Cut(y.must("logs", "echo", "--json"), "\n")
		if err := json.Unmarshal([]byte(first), &line); err != nil || line["instance"] != "echo-1" {
			t.Errorf("got %s", first)
		}
	})
	t.Run("the dashboard shows every instance", func(t *testing.T) {
		page := y.get(y.url(9000, "/"))
		for id := range pids {
			if !strings.Contains(page, "/instances/"+id) {
				t.Errorf("the page lacks %s", id)
			}
		}
	})
	t.Run("what is not there has exit code 4, nonsense 2", func(t *testing.T) {
		for _, c := range []struct {
			args []string
			code int
			want string
		}{
			{[]string{"restart", "nobody"}, exitNotFound, "there are registry, broker, dashboard, echo, front, py"},
			{[]string{"scale", "echo", "99"}, exitUsage, "from 0 to 32"},
			{[]string{"scale", "broker", "2"}, exitUsage, "is a role"},
			{[]string{"scale", "echo", "two"}, exitUsage, "not a number"},
			{[]string{"deploy", "broker"}, exitUsage, "is a role"},
			{[]string{"fly"}, exitUsage, "no command"},
			{[]string{"status", "--wings"}, exitUsage, "wings"},
		} {
			if out, code := y.cleave(c.args...); code != c.code || !strings.Contains(out, c.want) {
				t.Errorf("%v: exit code %d: %s", c.args, code, out)
			}
			out, _ := y.cleave(append(c.args, "--json")...)
			var answer struct {
				Error struct{ Code, Message string }
			}
			if err := json.Unmarshal([]byte(out), &answer); err != nil || answer.Error.Message == "" {
				t.Errorf("%v --json: %s", c.args, out)
			}
		}
	})

	y.must("down")
	for id, pid := range pids {
		if alive(pid) {
			t.Errorf("%s (pid %d) outlived down", id, pid)
		}
	}
	if out, code := y.cleave("status"); code != exitNotRunning {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// lookup asks the registry for a service's virtual address and an instance's.
func (y *toy) lookup(service string) (vip, addr string) {
	y.t.Helper()
	var list struct {
		Services []struct {
			Name, Vip string
			Instances []struct{ Addr string }
		}
	}
	y.eventually(service+" is registered", func() bool {
		res, err := http.Post(y.url(8761, "/cleave.registry.v1.RegistryService/List"), "application/json", strings.NewReader("{}"))
		if err != nil {
			return false
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&list); err != nil {
			return false
		}
		for _, s := range list.Services {
			if s.Name == service && len(s.Instances) > 0 {
				vip, addr = s.Vip, s.Instances[0].Addr
				return true
			}
		}
		return false
	})
	return vip, addr
}

func TestReplacingAGatewayLosesNoRequest(t *testing.T) {
	y := newToy(t)
	y.up()
	ctx, stop := context.WithCancel(t.Context())
	type tally struct {
		ok     int
		failed []error
	}
	done := make(chan tally)
	for range 2 {
		go func() {
			var n tally
			for ctx.Err() == nil {
				if _, err := get(y.url(18080, "/")); err != nil {
					n.failed = append(n.failed, err)
				} else {
					n.ok++
				}
			}
			done <- n
		}()
	}
	before := y.pids()
	for range 5 {
		y.must("restart", "front")
	}
	y.edit("front/main.go", "version 1", "version 2")
	y.must("deploy", "front")
	if got := y.front(); !strings.HasPrefix(got, "front version 2 ") {
		t.Errorf("front says %q", got)
	}
	stop()
	total := 0
	for range 2 {
		n := <-done
		total += n.ok
		for _, err := range n.failed {
			t.Error(err)
		}
	}
	t.Logf("%d requests over 6 replacements", total)
	if out := y.must("logs", "front"); !strings.Contains(out, "ended by itself (exit status 0)") || strings.Contains(out, "nobody hears") {
		t.Errorf("an instance could not say that it stops:\n%s", out)
	}
	after := y.pids()
	delete(before, "front-1")
	delete(after, "front-1")
	delete(after, "front-2")
	if !maps.Equal(before, after) {
		t.Errorf("other instances changed: %v, then %v", before, after)
	}
}

func TestAVersionThatDoesNotBecomeReadyIsTakenBack(t *testing.T) {
	y := newToy(t)
	y.up()
	y.must("scale", "echo", "2")
	before := y.pids()

	y.edit("echo/main.go", "chassis.Main(", "os.Exit(3)\n\tchassis.Main(")
	out, code := y.cleave("deploy", "echo")
	if code != exitRefused || !strings.Contains(out, "exit status 3") || !strings.Contains(out, "goes on as before") {
		t.Errorf("exit code %d: %s", code, out)
	}
	y.edit("echo/main.go", "os.Exit(3)", "os.Exit(")
	if out, code := y.cleave("deploy", "echo"); code != exitRefused || !strings.Contains(out, "syntax error") {
		t.Errorf("exit code %d: %s", code, out)
	}
	// Starts, but never says that it is ready.
	y.edit("echo/main.go", "os.Exit(\n\tchassis.Main(", "http.ListenAndServe(\"127.0.0.1:0\", nil)\n\tchassis.Main(")
	if out, code := y.cleave("deploy", "echo", "--timeout", "1s"); code != exitRefused || !strings.Contains(out, "not ready within 1s") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if after := y.pids(); !maps.Equal(before, after) {
		t.Errorf("instances changed: %v, then %v", before, after)
	}
}

func TestACrashedInstanceIsStartedAgain(t *testing.T) {
	y := newToy(t)
	y.up()
	for _, id := range []string{"echo-1", "py-1", "broker", "registry"} {
		old := y.pids()[id]
		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		y.eventually(id+" runs again", func() bool {
			pid := y.pids()[id]
			return pid != 0 && pid != old && y.status().GetReady()
		})
	}
	y.lookup("py") // the registry that came back knows it again

	// Held down, a role stays down, and the others go on.
	y.must("scale", "registry", "0")
	if pids := y.pids(); pids["registry"] != 0 || !strings.HasPrefix(y.front(), "front") {
		t.Errorf("got %v", pids)
	}
	y.must("scale", "registry", "1")
	y.lookup("py")
}

func TestWhatRegisteredItselfIsTakenOutWhenItDies(t *testing.T) {
	y := newToy(t)
	y.up()
	token := strings.TrimSpace(y.must("exec", "echo", "--", "sh", "-c", "echo $CLEAVE_TOKEN"))
	registry, err := discovery.NewClient(y.url(8761, ""), token, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = registry.API().Register(t.Context(), &registryapi.RegisterRequest{ // in the place of echo-1, for an hour
		Instance: &registryapi.Instance{Service: "echo", Id: "echo-1", Addr: "127.0.0.1:9"}, Lease: durationpb.New(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(y.pids()["echo-1"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for s, err := range registry.Watch(ctx, "echo") {
		if err == nil && len(s.Instances) == 0 {
			return
		}
	}
	t.Error("it is registered 10 s after its death")
}

func TestTheNextSupervisorAdoptsWhatADetachedOneLeft(t *testing.T) {
	y := newToy(t)
	y.up()
	before := y.pids()
	if err := syscall.Kill(int(y.status().GetPid()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := y.front(); !strings.HasPrefix(got, "front version 1 ") {
		t.Errorf("front says %q", got)
	}
	if out, code := y.cleave("status"); code != exitNotRunning {
		t.Errorf("exit code %d: %s", code, out)
	}
	y.up()
	if after := y.pids(); !maps.Equal(before, after) {
		t.Errorf("instances changed: %v, then %v", before, after)
	}
	y.must("restart", "front")
	if got := y.front(); !strings.HasPrefix(got, "front version 1 ") {
		t.Errorf("front says %q", got)
	}
	if err := syscall.Kill(int(y.status().GetPid()), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if out := y.must("down"); !strings.Contains(out, "ended 7 processes") {
		t.Errorf("down says %q", out)
	}
	if _, err := get(y.url(18080, "/")); err == nil {
		t.Error("front outlived down")
	}
}

func TestNothingOutlivesAForegroundSupervisor(t *testing.T) {
	y := newToy(t)
	for _, c := range []struct {
		name string
		sig  syscall.Signal
		code int
	}{{"an interrupt ends in order", syscall.SIGINT, 0}, {"a kill ends at once", syscall.SIGKILL, -1}} {
		t.Run(c.name, func(t *testing.T) {
			cmd := y.command("up", "--port-offset", fmt.Sprint(y.offset))
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			y.eventually("up", func() bool {
				_, code := y.cleave("status")
				return code == 0 && y.status().GetReady()
			})
			pids := y.pids()
			if err := cmd.Process.Signal(c.sig); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != c.code {
				t.Errorf("exit code %d, want %d\n%s", got, c.code, errs.String())
			}
			if errs.Len() > 0 {
				t.Errorf("it complained: %s", errs.String())
			}
			if c.sig == syscall.SIGINT && strings.Count(out.String(), "\n") != 5 {
				t.Errorf("it printed more than the five addresses:\n%s", out.String())
			}
			for id, pid := range pids {
				y.eventually(id+" ends", func() bool { return !alive(pid) })
			}
		})
	}
}

func TestATopologyPutsServicesIntoOneProcess(t *testing.T) {
	y := newToy(t)
	y.up("--topology", "monolith")
	if got := y.front(); !strings.HasPrefix(got, "all of echo,front pid ") {
		t.Errorf("it says %q", got)
	}
	before := y.pids()
	if before["all-1"] == 0 || before["py-1"] == 0 || before["echo-1"] != 0 {
		t.Errorf("got %v", before)
	}
	if out, code := y.cleave("scale", "echo", "0"); code != exitUsage || !strings.Contains(out, "shares a process with 1 more") {
		t.Errorf("exit code %d: %s", code, out)
	}
	y.must("restart", "echo") // stands for the process that hosts it
	if got := y.pids(); got["all-1"] == before["all-1"] || got["py-1"] != before["py-1"] {
		t.Errorf("got %v, before %v", got, before)
	}
}

func TestUpSaysWhatIsWrongBeforeItStartsAnything(t *testing.T) {
	y := newToy(t)
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 9000+y.offset))
	if err != nil {
		t.Fatal(err)
	}
	out, code := y.cleave("up", "--port-offset", fmt.Sprint(y.offset))
	ln.Close()
	if code != exitBusy || !strings.Contains(out, "the address of the dashboard, is taken") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if out, code := y.cleave("up", "--topology", "cloud"); code != exitUsage || !strings.Contains(out, "monolith") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if out, code := y.cleave("up", "nowhere"); code != exitUsage {
		t.Errorf("exit code %d: %s", code, out)
	}
	y.edit("front/main.go", "func main()", "func main(")
	for _, args := range [][]string{{"up"}, {"up", "--detach"}} {
		out, code := y.cleave(append(args, "--port-offset", fmt.Sprint(y.offset))...)
		if _, err := os.Stat(filepath.Join(y.dir, ".cleave/run/ctl.sock")); err == nil {
			t.Errorf("%v: the control socket was left behind", args)
		}
		if code != exitRefused || !strings.Contains(out, "front/main.go") {
			t.Errorf("%v: exit code %d: %s", args, code, out)
		}
	}
	y.edit("cleave.yaml", "replicas: 2", "replicas: two")
	if out, code := y.cleave("up"); code != exitUsage || !strings.Contains(out, "cleave.yaml:3: services.echo.replicas") {
		t.Errorf("exit code %d: %s", code, out)
	}
}

func TestASecondUpLeavesTheFirstAlone(t *testing.T) {
	y := newToy(t)
	y.up()
	for _, args := range [][]string{{"up"}, {"up", "--detach"}} {
		if out, code := y.cleave(args...); code != exitBusy || !strings.Contains(out, "already runs in "+y.dir) {
			t.Errorf("%v: exit code %d: %s", args, code, out)
		}
	}
	cmd := y.command("status", "--json")
	cmd.Dir = t.TempDir() // from anywhere, it is the only system that is up
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), y.dir) {
		t.Errorf("%v: %s", err, out)
	}
}

func TestUpSaysAtOnceWhatDoesNotStart(t *testing.T) {
	y := newToy(t)
	y.edit("cleave.yaml", "python3 -u pyworld/py.py", "sh -c 'echo no bread; exit 3'")
	cmd := y.command("up", "--port-offset", fmt.Sprint(y.offset))
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	line, err := bufio.NewReader(errs).ReadString('\n')
	if err != nil || !strings.Contains(line, "py-1 does not start: ended with exit status 3; last line: no bread; `cleave logs py` says more") {
		t.Errorf("%v: %s", err, line)
	}
	t.Logf("after %v", time.Since(began).Round(time.Millisecond)) // the build included
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}

func TestWhatIsMistypedIsExplained(t *testing.T) {
	y := newToy(t)
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{nil, exitUsage, "cleave up [DIR]"},
		{[]string{"bogus"}, exitUsage, "there is no command \"bogus\""},
		{[]string{"up", t.TempDir()}, exitNotFound, "no cleave.yaml; write one"},
		{[]string{"status", "--dir", "/nonexistent"}, exitUsage, "--dir /nonexistent is not a folder"},
		{[]string{"status"}, exitNotRunning, "is not up"},
		{[]string{"version", "x"}, exitUsage, "takes no argument"},
		{[]string{"logs", "-n", "x"}, exitUsage, "invalid value"},
	} {
		if out, code := y.cleave(c.args...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%v: exit code %d, want %d: %s", c.args, code, c.code, out)
		}
	}
	y.up()
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"scale", "echo", "-1"}, exitUsage, "-1 replicas: it must be from 0 to 32"},
		{[]string{"scale", "echo", "many"}, exitUsage, "is not a number"},
		{[]string{"scale", "nope", "1"}, exitNotFound, "there is no \"nope\"; there are registry, broker"},
		{[]string{"deploy", "registry"}, exitUsage, "is a role"},
		{[]string{"deploy", "py", "--binary", "/bin/true"}, exitUsage, "it takes no binary"},
		{[]string{"logs", "nope"}, exitNotFound, "there is no \"nope\""},
		{[]string{"token"}, exitUsage, "needs --sub"},
		{[]string{"token", "--sub", "a b"}, exitUsage, "visible ASCII"},
	} {
		if out, code := y.cleave(c.args...); code != c.code || !strings.Contains(out, c.want) {
			t.Errorf("%v: exit code %d, want %d: %s", c.args, code, c.code, out)
		}
	}
	if out := y.must("status"); strings.Contains(out, "takes no binary") {
		t.Errorf("what was mistyped is a problem of the system now:\n%s", out)
	}
	y.must("scale", "py", "0")
	if out := y.must("status"); !strings.Contains(out, "held down") {
		t.Errorf("got\n%s", out)
	}
}
