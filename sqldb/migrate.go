package sqldb

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// ErrMigrationChanged says that a script is not what it was when it ran.
var ErrMigrationChanged = errors.New("the script has changed since it ran: add a new one instead")

// Migrate runs the *.sql scripts in files, at the top or in folders, in the
// order of their base names, each once in the life of the database, all that
// are missing in one transaction. A script whose name ends in .sqlite.sql or
// .postgres.sql is for that kind of database only, and its name goes without
// that. No script at all is an error. Processes that migrate the same database
// do it one behind the other. A script that ran and has changed since is an error that wraps
// ErrMigrationChanged. Scripts in the database that files lacks are left alone,
// so an older release runs beside a newer one: only add, do not change or drop.
//
// Names are unique in a database; those of this toolkit begin with "cleave-".
func (db *DB) Migrate(ctx context.Context, files fs.FS) error {
	if db.Updating(ctx) {
		return ErrNested
	}
	scripts, err := readScripts(files, db.Dialect())
	if err != nil {
		return err
	}
	return db.engine.migrate(ctx, func(ctx context.Context, tx Tx) error {
		table := `CREATE TABLE IF NOT EXISTS schema_migration (
			name TEXT PRIMARY KEY, checksum TEXT NOT NULL, applied_at TEXT NOT NULL)`
		if db.Dialect() == SQLite {
			table += ` STRICT, WITHOUT ROWID`
		}
		if _, err := tx.ExecContext(ctx, table); err != nil {
			return err
		}
		for _, s := range scripts {
			if err := s.apply(ctx, tx); err != nil {
				return fmt.Errorf("sqldb: migrate %s: %w", s.name, err)
			}
		}
		return nil
	})
}

type script struct{ name, text, checksum string }

// readScripts finds the scripts for a kind of database wherever an embed
// directive has put them.
func readScripts(files fs.FS, d Dialect) ([]script, error) {
	var scripts []script
	found := map[string]string{} // by name, where
	err := fs.WalkDir(files, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(file) != ".sql" {
			return err
		}
		name, only := nameOf(path.Base(file))
		if only != "" && only != d {
			return nil
		}
		if found[name] != "" {
			return fmt.Errorf("%s and %s are the same script", found[name], file)
		}
		found[name] = file
		text, err := fs.ReadFile(files, file)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		scripts = append(scripts, script{name, string(text), hex.EncodeToString(sum[:])})
		return nil
	})
	if err == nil && len(scripts) == 0 {
		err = errors.New("there is no *.sql file among the scripts")
	}
	if err != nil {
		return nil, fmt.Errorf("sqldb: migrate: %w", err)
	}
	slices.SortFunc(scripts, func(a, b script) int { return strings.Compare(a.name, b.name) })
	return scripts, nil
}

// nameOf returns a script's name, and the only kind of database that it is for,
// "" for all.
func nameOf(file string) (name string, only Dialect) {
	stem := strings.TrimSuffix(file, ".sql")
	for _, d := range []Dialect{SQLite, PostgreSQL} {
		if name, ok := strings.CutSuffix(stem, "."+string(d)); ok {
			return name + ".sql", d
		}
	}
	return file, ""
}

func (s script) apply(ctx context.Context, tx Tx) error {
	var ran string
	err := tx.QueryRowContext(ctx, "SELECT checksum FROM schema_migration WHERE name = ?", s.name).Scan(&ran)
	switch {
	case err == nil && ran == s.checksum:
		return nil
	case err == nil:
		return ErrMigrationChanged
	case !errors.Is(err, sql.ErrNoRows):
		return err
	}
	if err := s.run(ctx, tx); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO schema_migration VALUES (?, ?, ?)", s.name, s.checksum, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
	return err
}

func (s script) run(ctx context.Context, tx Tx) error {
	if t, ok := tx.(*postgresTx); ok {
		return t.script(ctx, s.text)
	}
	_, err := tx.ExecContext(ctx, s.text)
	return err
}
