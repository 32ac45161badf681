package sqlite_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/sqldb"
)

func scripts(text ...string) fs.FS {
	files := fstest.MapFS{"README.md": {Data: []byte("not a script")}}
	for i, t := range text {
		files[string(rune('a'+i))+".sql"] = &fstest.MapFile{Data: []byte(t)}
	}
	return files
}

func TestMigrateRunsEachScriptOnceInTheOrderOfNames(t *testing.T) {
	db := openTemp(t)
	two := scripts("-- first\nCREATE TABLE x (n INTEGER); INSERT INTO x VALUES (1);", "INSERT INTO x SELECT n + 1 FROM x")
	three := scripts("-- first\nCREATE TABLE x (n INTEGER); INSERT INTO x VALUES (1);", "INSERT INTO x SELECT n + 1 FROM x", "INSERT INTO x VALUES (9)")
	for _, files := range []fs.FS{two, two, three, two /* the older release */, three} {
		if err := db.Migrate(t.Context(), files); err != nil {
			t.Fatal(err)
		}
	}
	var got string
	if err := db.QueryRowContext(t.Context(), "SELECT group_concat(n, ' ') FROM x").Scan(&got); err != nil || got != "1 2 9" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestMigrateRefusesAScriptThatChanged(t *testing.T) {
	db := openTemp(t)
	if err := db.Migrate(t.Context(), scripts("CREATE TABLE x (n INTEGER)")); err != nil {
		t.Fatal(err)
	}
	err := db.Migrate(t.Context(), scripts("CREATE TABLE x (n INTEGER, m INTEGER)"))
	if !errors.Is(err, sqldb.ErrMigrationChanged) || !strings.Contains(err.Error(), "a.sql") {
		t.Errorf("got %v", err)
	}
}

func TestMigrateUndoesAllWhenAScriptFails(t *testing.T) {
	db := openTemp(t)
	err := db.Migrate(t.Context(), scripts("CREATE TABLE x (n INTEGER)", "CREATE TABLE y (n INTEGER); nonsense"))
	if err == nil || !strings.Contains(err.Error(), "b.sql") {
		t.Errorf("got %v", err)
	}
	if err := db.Migrate(t.Context(), scripts("CREATE TABLE x (n INTEGER)", "CREATE TABLE y (n INTEGER)")); err != nil {
		t.Error(err)
	}
}

func TestHandlesThatOpenAndMigrateOneFileAtOnceDoItOnce(t *testing.T) {
	for range 5 {
		path := filepath.Join(t.TempDir(), "new", "a.db")
		epochs := make([]string, 8)
		var wg sync.WaitGroup
		for i := range epochs {
			wg.Go(func() {
				db, err := sqldb.Open(t.Context(), "sqlite:"+path, nil)
				if err != nil {
					t.Error(err)
					return
				}
				defer db.Close()
				if err := errors.Join(sqlstore.Setup(t.Context(), db), db.Migrate(t.Context(), scripts("CREATE TABLE x (n INTEGER)"))); err != nil {
					t.Error(err)
					return
				}
				epochs[i], err = sqlstore.New(db).Epoch(t.Context())
				if err != nil || epochs[i] == "" {
					t.Errorf("got %q, %v", epochs[i], err)
				}
			})
		}
		wg.Wait()
		for _, e := range epochs {
			if e != epochs[0] {
				t.Errorf("epochs %v", epochs)
			}
		}
	}
}
