package pgtest

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver that postgres: URLs name
)

// Server is a running server.
type Server struct {
	dir      string
	bin      string
	settings []string
	owner    *syscall.Credential // who runs it; nil: who runs the tests
	process  *child
	created  atomic.Int64

	mu   sync.Mutex
	free []string // databases that are empty again
}

// Start makes a server with settings such as "fsync=on", which is off otherwise.
func Start(settings ...string) (*Server, error) {
	out, err := exec.Command("pg_config", "--bindir").Output()
	if err != nil {
		return nil, fmt.Errorf("pgtest: PostgreSQL is needed (make setup installs it): %w", err)
	}
	dir, err := os.MkdirTemp("", "cleave-pg-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: strings.TrimSpace(string(out)), settings: settings}
	if err := s.initialise(); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	if err := s.run(); err != nil {
		s.Stop()
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	if err := s.admin("CREATE ROLE app LOGIN PASSWORD 'app'"); err != nil {
		s.Stop()
		return nil, fmt.Errorf("pgtest: %w", err)
	}
	return s, nil
}

// initialise makes the files of a server. PostgreSQL refuses to run as root.
func (s *Server) initialise() error {
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return err
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return err
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return err
		}
		s.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if err := os.Chown(s.dir, int(uid), int(gid)); err != nil {
			return err
		}
	}
	initdb := exec.Command(filepath.Join(s.bin, "initdb"), "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	initdb.Dir = s.dir
	initdb.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// run starts the server and waits until it answers.
func (s *Server) run() error {
	args := []string{"-D", s.data(), "-k", s.dir, "-c", "listen_addresses=", "-c", "max_connections=300", "-c", "shared_buffers=64MB", "-c", "log_min_messages=fatal"}
	for _, setting := range append([]string{"fsync=off", "full_page_writes=off"}, s.settings...) {
		args = append(args, "-c", setting)
	}
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), args...)
	cmd.Dir = s.dir
	log := &bytes.Buffer{}
	cmd.Stderr = log
	process, err := startChild(cmd, s.owner, syscall.SIGQUIT)
	if err != nil {
		return err
	}
	s.process = process
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := s.admin("SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-process.done:
			return fmt.Errorf("the server ended: %s", log)
		default:
		}
		if time.Since(start) > time.Minute {
			return err
		}
	}
}

// URL names a database of the server for a role.
func (s *Server) URL(role, database string) string {
	q := url.Values{"host": {s.dir}, "user": {role}}
	return "postgres:///" + database + "?" + q.Encode()
}

// admin runs statements as a superuser, in the database postgres.
func (s *Server) admin(query string) error { return s.adminOf("postgres", query) }

func (s *Server) adminOf(database, query string) error {
	db, err := sql.Open("pgx", s.URL("postgres", database))
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err = db.ExecContext(ctx, query)
	return err
}

// Create makes an empty database that the role app owns, and returns its name.
func (s *Server) Create() (string, error) {
	s.mu.Lock()
	if n := len(s.free); n > 0 {
		name := s.free[n-1]
		s.free = s.free[:n-1]
		s.mu.Unlock()
		return name, nil
	}
	s.mu.Unlock()
	name := fmt.Sprintf("test%d", s.created.Add(1))
	return name, s.admin("CREATE DATABASE " + name + " OWNER app")
}

// CreateNamed makes an empty database with a name, for good.
func (s *Server) CreateNamed(name string) error {
	return s.admin(`CREATE DATABASE "` + name + `" OWNER app`)
}

// Empty makes a database that Create made free for the next one: that takes a
// tenth of the time that a new one takes. One that is still in use is removed.
func (s *Server) Empty(name string) error {
	err := s.adminOf(name, "BEGIN; SET LOCAL lock_timeout = 1000; DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION app; COMMIT")
	if err != nil {
		return s.drop(name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, name)
	return nil
}

// drop removes a database, whoever is connected to it.
func (s *Server) drop(name string) error {
	return s.admin("DROP DATABASE IF EXISTS " + name + " WITH (FORCE)")
}

// Dump writes a database to a file, which Load reads into another server's.
func (s *Server) Dump(database string) ([]byte, error) {
	return s.tool("pg_dump", nil, "--no-owner", database)
}

// Load runs a dump in a database, as the role that owns it.
func (s *Server) Load(database string, dump []byte) error {
	_, err := s.tool("psql", dump, "-q", "-v", "ON_ERROR_STOP=1", database)
	return err
}

func (s *Server) tool(name string, input []byte, args ...string) ([]byte, error) {
	cmd := exec.Command(filepath.Join(s.bin, name), append([]string{"-h", s.dir, "-U", "app"}, args...)...)
	cmd.Stdin = bytes.NewReader(input)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", name, err, &errs)
	}
	return out, err
}

// Crash ends the server as a failure of its machine would.
func (s *Server) Crash() { s.process.end(syscall.SIGQUIT) }

// Restart starts a server that crashed.
func (s *Server) Restart() error { return s.run() }

// Stop ends the server and removes its files.
func (s *Server) Stop() {
	if s.process != nil {
		s.process.end(syscall.SIGINT)
	}
	os.RemoveAll(s.dir)
}
