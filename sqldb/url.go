package sqldb

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// parseURL returns the kind of database that a URL names, and the absolute path
// of its file or the URL for the driver.
func parseURL(raw string) (Dialect, string, error) {
	scheme, rest, ok := strings.Cut(raw, ":")
	switch {
	case !ok || scheme == "":
		return "", "", fmt.Errorf("sqldb: %q is no database URL: write sqlite:PATH or postgres://HOST/DATABASE", redact(raw))
	case scheme == "postgres" || scheme == "postgresql":
		dsn, err := postgresDSN(raw)
		return PostgreSQL, dsn, err
	case scheme == "sqlite":
		path, err := sqlitePath(raw, rest)
		return SQLite, path, err
	}
	return "", "", fmt.Errorf("sqldb: unknown kind of database %q: write sqlite:PATH or postgres://HOST/DATABASE", scheme)
}

// sqlitePath returns the file that a database URL names.
func sqlitePath(raw, path string) (string, error) {
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

// execMode is the way to run queries that leaves nothing behind in the session
// of the server, so that a pooler may give every transaction another one.
const execMode = "default_query_exec_mode"

// postgresDSN adds the driver's settings that the URL leaves open. Its errors
// do not repeat the URL, which may hold a password.
func postgresDSN(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" || u.Fragment != "" {
		return "", errors.New("sqldb: the database URL cannot be parsed: write postgres://USER:PASSWORD@HOST:PORT/DATABASE, with %XX for special characters")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", errors.New("sqldb: the parameters of the database URL cannot be parsed: write ?NAME=VALUE&NAME=VALUE, with %XX for special characters")
	}
	if strings.Trim(u.Path, "/") == "" && !query.Has("dbname") && !query.Has("database") {
		return "", errors.New("sqldb: the database URL names no database: write postgres://USER@HOST:PORT/DATABASE")
	}
	if !query.Has(execMode) {
		query.Set(execMode, "cache_describe")
	}
	u.RawQuery = query.Encode()
	return u.String(), nil
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
