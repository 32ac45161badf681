// Package dbtest runs tests on every kind of database that sqldb knows.
package dbtest

import (
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite" // the driver that sqlite: URLs name

	"github.com/cleave-go/cleave/conformance/internal/pgtest"
	"github.com/cleave-go/cleave/sqldb"
)

// Engine is a kind of database.
type Engine struct {
	Dialect sqldb.Dialect
	url     func(t testing.TB) string
}

// The engines there are.
var (
	SQLite = Engine{sqldb.SQLite, func(t testing.TB) string {
		return "sqlite:" + filepath.Join(t.TempDir(), "a.db")
	}}
	PostgreSQL = Engine{sqldb.PostgreSQL, pgtest.Database}
)

// Each runs f with every engine. The package's TestMain calls pgtest.Main.
func Each(t *testing.T, f func(t *testing.T, e Engine)) {
	t.Helper()
	for _, e := range []Engine{SQLite, PostgreSQL} {
		t.Run(string(e.Dialect), func(t *testing.T) { f(t, e) })
	}
}

// URL returns the URL of an empty database for the test alone.
func (e Engine) URL(t testing.TB) string {
	t.Helper()
	return e.url(t)
}

// Open opens an empty database for the test alone.
func (e Engine) Open(t testing.TB, o *sqldb.Options) *sqldb.DB {
	t.Helper()
	return Open(t, e.URL(t), o)
}

// Open opens a database until the end of the test.
func Open(t testing.TB, url string, o *sqldb.Options) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}
