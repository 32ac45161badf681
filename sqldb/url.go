package sqldb

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// sqlitePath returns the file that a database URL names.
func sqlitePath(raw string) (string, error) {
	scheme, path, ok := strings.Cut(raw, ":")
	switch {
	case !ok || scheme == "":
		return "", fmt.Errorf("sqldb: %q is no database URL: write sqlite:PATH", redact(raw))
	case scheme == "postgres" || scheme == "postgresql":
		return "", fmt.Errorf("sqldb: PostgreSQL is not supported yet: write sqlite:PATH")
	case scheme != "sqlite":
		return "", fmt.Errorf("sqldb: unknown kind of database %q: write sqlite:PATH", scheme)
	}
	path = strings.TrimPrefix(path, "//")
	switch {
	case path == "":
		return "", fmt.Errorf("sqldb: %q names no file: write sqlite:PATH", raw)
	case strings.HasPrefix(path, ":memory:"):
		return "", fmt.Errorf("sqldb: a database in memory cannot be shared by connections: use a file in a temporary folder")
	case strings.ContainsRune(path, 0):
		return "", fmt.Errorf("sqldb: the path of a database must not contain a zero byte")
	}
	return filepath.Abs(path)
}

// redact keeps what may hold a password out of an error.
func redact(raw string) string {
	if i := strings.LastIndexByte(raw, '@'); i >= 0 {
		return "…" + raw[i:]
	}
	return raw
}

// createFile makes the folder and the file, readable by their owner only.
// SQLite gives its -wal and -shm files the mode of the database.
func createFile(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("sqldb: make the folder of the database: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("sqldb: open the database: %w", err)
	}
	return f.Close()
}

// dsn is the data source name of path for the driver "sqlite". Pragmas are in
// it because they belong to a connection and database/sql makes those.
func dsn(path string, busy time.Duration, pragmas ...string) string {
	slashed := filepath.ToSlash(path)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed // C:/x
	}
	query := url.Values{"_time_format": {"sqlite"}}
	query.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", busy.Milliseconds()))
	for _, p := range pragmas {
		query.Add("_pragma", p)
	}
	return "file:" + (&url.URL{Path: slashed}).EscapedPath() + "?" + query.Encode()
}
