package sqldb_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/sqldb"
)

// The root module links no driver, so what needs a database is tested in the
// conformance module, on real files.

func TestOpenSaysWhatIsWrongWithAURL(t *testing.T) {
	for url, want := range map[string]string{
		"":                            "no database URL",
		"order.db":                    "sqlite:PATH",
		":x":                          "no database URL",
		"sqlite:":                     "names no file",
		"sqlite:///":                  "",
		"sqlite::memory:":             "temporary folder",
		"sqlite:a\x00b":               "zero byte",
		"mysql:x":                     `"mysql"`,
		"postgres:secret":             "cannot be parsed",
		"postgres://u:secret@h":       "names no database",
		"postgres://u:se cret@h/db":   "cannot be parsed",
		"postgres://u:secret@h:x/db":  "cannot be parsed",
		"postgres://u:secret@h/d?a=%": "parameters",
		"user:secret@host":            `"user"`,
		"//user:secret@host":          `"//user"`,
	} {
		db, err := sqldb.Open(t.Context(), url, nil)
		if err == nil {
			db.Close()
			t.Errorf("%q opened", url)
		} else if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %v, want %q in it", url, err, want)
		}
	}
}

func TestOpenWithoutADriverSaysWhatToImport(t *testing.T) {
	_, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "new", "a.db"), nil)
	if err == nil || !strings.Contains(err.Error(), "import modernc.org/sqlite") {
		t.Errorf("got %v", err)
	}
}

func TestOpenWithoutADriverForPostgreSQLSaysWhatToImport(t *testing.T) {
	_, err := sqldb.Open(t.Context(), "postgres://u:secret@h/db", nil)
	if err == nil || !strings.Contains(err.Error(), "import github.com/jackc/pgx/v5/stdlib") || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}

func TestOpenRefusesNegativeOptions(t *testing.T) {
	_, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "a.db"), &sqldb.Options{Readers: -1})
	if err == nil || !strings.Contains(err.Error(), "negative") {
		t.Errorf("got %v", err)
	}
}
