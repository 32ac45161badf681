package sqlite_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/sqldb"
)

func open(t testing.TB, path string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite:"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := sqlstore.Setup(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestAppendsOfManyCallersAreAllThereInOrder(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a?b %20.db")
	db := open(t, path)
	st := sqlstore.New(db)
	const callers, each = 64, 100
	live := make(chan []event.Record)
	go func() {
		var got []event.Record
		for r, err := range st.Feed(t.Context(), eventsource.FeedOptions{Live: true, Limit: callers * each}) {
			if err != nil {
				t.Error(err)
			}
			got = append(got, r)
		}
		live <- got
	}()
	start := time.Now()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			s := event.Stream{Category: "order", ID: event.NewID().String()}
			for range each {
				if _, err := st.Append(context.Background(), s, eventsource.Any,
					event.Record{ID: event.NewID(), Type: "order.placed", Schema: 1, Data: []byte(`{"a":1}`)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("%.0f appends/s", callers*each/time.Since(start).Seconds())
	for i, r := range <-live {
		if int(r.Position) != i+1 {
			t.Fatalf("position %d at %d", r.Position, i)
		}
	}
	t.Logf("%.0f through the feed/s", callers*each/time.Since(start).Seconds())
}
