package postgres_test

import (
	"testing"

	"github.com/cleave-go/cleave/conformance/internal/dbtest"
	"github.com/cleave-go/cleave/conformance/internal/pgtest"
	"github.com/cleave-go/cleave/eventsource/eventsourcetest"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/sqldb"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// open opens a database with the event tables.
func open(t testing.TB, url string, o *sqldb.Options) *sqldb.DB {
	t.Helper()
	db := dbtest.Open(t, url, o)
	if err := sqlstore.Setup(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestStoreOfOneHandle(t *testing.T) {
	eventsourcetest.Run(t, func(t *testing.T) eventsourcetest.Backend {
		db := open(t, pgtest.Database(t), nil)
		return eventsourcetest.Backend{Store: sqlstore.New(db), Update: db.Update, Gaps: true}
	})
}

func TestStoreOfTwoHandles(t *testing.T) {
	eventsourcetest.Run(t, func(t *testing.T) eventsourcetest.Backend {
		url := pgtest.Database(t)
		db, other := open(t, url, nil), open(t, url, nil)
		return eventsourcetest.Backend{Store: sqlstore.New(db), Other: sqlstore.New(other), Update: db.Update, Gaps: true}
	})
}
