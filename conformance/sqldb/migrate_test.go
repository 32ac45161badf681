package sqldb_test

import (
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/cleave-go/cleave/conformance/internal/dbtest"
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
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := openTemp(t, e)
		two := scripts("-- first\nCREATE TABLE x (n INTEGER); INSERT INTO x VALUES (1);", "INSERT INTO x SELECT n + 1 FROM x")
		three := scripts("-- first\nCREATE TABLE x (n INTEGER); INSERT INTO x VALUES (1);", "INSERT INTO x SELECT n + 1 FROM x", "INSERT INTO x VALUES (9)")
		for _, files := range []fs.FS{two, two, three, two /* the older release */, three} {
			if err := db.Migrate(t.Context(), files); err != nil {
				t.Fatal(err)
			}
		}

		var got int
		if err := db.QueryRowContext(t.Context(), "SELECT sum(n) FROM x").Scan(&got); err != nil || got != 1+2+9 {
			t.Errorf("got %d, %v", got, err)
		}
	})
}

func TestMigrateRefusesAScriptThatChanged(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := openTemp(t, e)
		if err := db.Migrate(t.Context(), scripts("CREATE TABLE x (n INTEGER)")); err != nil {
			t.Fatal(err)
		}
		err := db.Migrate(t.Context(), scripts("CREATE TABLE x (n INTEGER, m INTEGER)"))
		if !errors.Is(err, sqldb.ErrMigrationChanged) || !strings.Contains(err.Error(), "a.sql") {
			t.Errorf("got %v", err)
		}
	})
}

func TestMigrateUndoesAllWhenAScriptFails(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := openTemp(t, e)
		err := db.Migrate(t.Context(), scripts("CREATE TABLE x (n INTEGER)", "CREATE TABLE y (n INTEGER); nonsense"))
		if err == nil || !strings.Contains(err.Error(), "b.sql") {
			t.Errorf("got %v", err)
		}
		if err := db.Migrate(t.Context(), scripts("CREATE TABLE x (n INTEGER)", "CREATE TABLE y (n INTEGER)")); err != nil {
			t.Error(err)
		}
	})
}

func TestHandlesThatOpenAndMigrateOneDatabaseAtOnceDoItOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		for range 5 {
			url := e.URL(t)
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					db, err := sqldb.Open(t.Context(), url, nil)
					if err != nil {
						t.Error(err)
						return
					}
					defer db.Close()
					if err := db.Migrate(t.Context(), scripts("CREATE TABLE x (n INTEGER)", "INSERT INTO x VALUES (1)")); err != nil {
						t.Error(err)
						return
					}
					var n int
					if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM x").Scan(&n); err != nil || n != 1 {
						t.Errorf("the second script ran %d times, %v", n, err)
					}
				})
			}
			wg.Wait()
		}
	})
}

func TestMigrateRunsWhatIsForItsKindOfDatabase(t *testing.T) {
	files := fstest.MapFS{
		"a.sqlite.sql":   {Data: []byte("CREATE TABLE x (n INTEGER) STRICT")},
		"a.postgres.sql": {Data: []byte("CREATE TABLE x (n bigint); CREATE FUNCTION two() RETURNS bigint LANGUAGE sql AS $$ SELECT 2 $$")},
		"b.sql":          {Data: []byte("INSERT INTO x VALUES (1)")},
	}
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		db := e.Open(t, nil)
		for range 2 {
			if err := db.Migrate(t.Context(), files); err != nil {
				t.Fatal(err)
			}
		}
		// A script that was one for all may become one for each.
		if err := db.Migrate(t.Context(), fstest.MapFS{"b.sqlite.sql": files["b.sql"], "b.postgres.sql": files["b.sql"]}); err != nil {
			t.Error(err)
		}
		both := fstest.MapFS{"c.sql": files["b.sql"], "c." + string(e.Dialect) + ".sql": files["b.sql"]}
		if err := db.Migrate(t.Context(), both); err == nil || !strings.Contains(err.Error(), "the same script") {
			t.Errorf("two scripts of one name: %v", err)
		}
		var n int
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM x").Scan(&n); err != nil || n != 1 {
			t.Errorf("%d rows, %v", n, err)
		}
	})
}
