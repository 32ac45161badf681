package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/cleave-go/cleave/eventsource/eventsourcetest"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
)

func TestStoreOfOneHandle(t *testing.T) {
	eventsourcetest.Run(t, func(t *testing.T) eventsourcetest.Backend {
		db := open(t, filepath.Join(t.TempDir(), "order.db"))
		return eventsourcetest.Backend{Store: sqlstore.New(db), Update: db.Update}
	})
}

func TestStoreOfTwoHandlesOnOneFile(t *testing.T) {
	eventsourcetest.Run(t, func(t *testing.T) eventsourcetest.Backend {
		path := filepath.Join(t.TempDir(), "order.db")
		db, other := open(t, path), open(t, path)
		return eventsourcetest.Backend{Store: sqlstore.New(db), Other: sqlstore.New(other), Update: db.Update}
	})
}
