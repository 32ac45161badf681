package sqlite_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/cleave-go/cleave/sqldb"
)

// The log is written into the file and removed when the last connection closes:
// a copy of that one file is a backup.
func TestACloseLeavesOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db := open(t, path)
	err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		if _, err := tx.ExecContext(ctx, "CREATE TABLE t (n INTEGER)"); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO t VALUES (?)", 1)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT n FROM t WHERE n = ?", 1).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if _, err := db.AwaitCommit(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("the folder has %v", entries)
	}
}
