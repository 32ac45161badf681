package pgtest

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
)

var shared struct {
	once   sync.Once
	server *Server
	err    error
}

// Main is the TestMain of packages that use Shared or Database.
func Main(m *testing.M) {
	code := m.Run()
	Stop()
	os.Exit(code)
}

// Stop ends the server of Shared, for a TestMain that does more.
func Stop() {
	if shared.server != nil {
		shared.server.Stop()
	}
}

// Shared returns the server of this test binary.
func Shared(t testing.TB) *Server {
	t.Helper()
	shared.once.Do(func() { shared.server, shared.err = Start() })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.server
}

// Database returns the URL of an empty database for the test alone.
func Database(t testing.TB) string {
	t.Helper()
	s := Shared(t)
	name, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Empty(name); err != nil {
			t.Error(err)
		}
	})
	return s.URL("app", name)
}

// Copy returns the URL of a copy of a database of Database that nobody has open.
func Copy(t testing.TB, of string) string {
	t.Helper()
	s := Shared(t)
	name := fmt.Sprintf("copy%d", s.created.Add(1))
	if err := s.admin("CREATE DATABASE " + name + " OWNER app TEMPLATE " + databaseOf(t, of)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.drop(name); err != nil {
			t.Error(err)
		}
	})
	return s.URL("app", name)
}

func databaseOf(t testing.TB, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}
