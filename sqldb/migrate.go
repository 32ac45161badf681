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
)

// ErrMigrationChanged says that a script is not what it was when it ran.
var ErrMigrationChanged = errors.New("the script has changed since it ran: add a new one instead")

// Migrate runs the *.sql scripts in files, at the top or in folders, in the
// order of their base names, each once in the life of the database, all that
// are missing in one transaction. No script at all is an error. Processes that migrate the same file do it one behind the other.
// A script that ran and has changed since is an error that wraps
// ErrMigrationChanged. Scripts in the database that files lacks are left alone,
// so an older release runs beside a newer one: only add, do not change or drop.
//
// Names are unique in a database; those of this toolkit begin with "cleave-".
func (db *DB) Migrate(ctx context.Context, files fs.FS) error {
	scripts, err := readScripts(files)
	if err != nil {
		return err
	}
	return db.Update(ctx, func(ctx context.Context, tx Tx) error {
		if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_migration (
			name TEXT PRIMARY KEY, checksum TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT, WITHOUT ROWID`); err != nil {
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

// readScripts finds the scripts wherever an embed directive has put them.
func readScripts(files fs.FS) ([]script, error) {
	var scripts []script
	err := fs.WalkDir(files, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(file) != ".sql" {
			return err
		}
		text, err := fs.ReadFile(files, file)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(text)
		scripts = append(scripts, script{path.Base(file), string(text), hex.EncodeToString(sum[:])})
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
	if _, err := tx.ExecContext(ctx, s.text); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO schema_migration VALUES (?, ?, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))", s.name, s.checksum)
	return err
}
