package pgtest

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// Bouncer starts PgBouncer in front of the shared server, in transaction mode
// with four connections a database, until the end of the test. It returns what
// turns the URL of a database into the one behind PgBouncer.
func Bouncer(t testing.TB) func(direct string) string {
	t.Helper()
	s := Shared(t)
	program := "pgbouncer"
	if path, err := exec.LookPath("/usr/sbin/pgbouncer"); err == nil {
		program = path // Debian has it where only root looks
	}
	dir, err := os.MkdirTemp(s.dir, "bouncer-")
	if err != nil {
		t.Fatal(err)
	}
	if s.owner != nil {
		if err := os.Chown(dir, int(s.owner.Uid), int(s.owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	// With auth_type any all come as one role.
	config := fmt.Sprintf("[databases]\n* = host=%s user=app\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\nunix_socket_dir = %s\nauth_type = any\n"+
		"pool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 2000\nlogfile = %s\n", s.dir, dir, filepath.Join(dir, "log"))
	file := filepath.Join(dir, "pgbouncer.ini")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	process, err := startChild(exec.Command(program, "-q", file), s.owner, syscall.SIGQUIT)
	if err != nil {
		t.Fatalf("pgtest: PgBouncer is needed (make setup installs it): %v", err)
	}
	t.Cleanup(func() { process.end(syscall.SIGQUIT) })
	for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, ".s.PGSQL.6432")); err == nil {
			break
		}
		if time.Since(start) > 10*time.Second {
			log, _ := os.ReadFile(filepath.Join(dir, "log"))
			t.Fatalf("PgBouncer does not listen: %s", log)
		}
	}
	return func(direct string) string {
		u, err := url.Parse(direct)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		q.Set("host", dir)
		q.Set("port", "6432")
		u.RawQuery = q.Encode()
		return u.String()
	}
}
