package sqlite_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
)

func TestTrapT13TheLogStaysSmallWhileFeedsFollowAWriter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	st := sqlstore.New(open(t, path))
	const records = 400 // 50 MiB in all
	done := make(chan error, 4)
	for range cap(done) {
		go func() {
			for _, err := range st.Feed(t.Context(), eventsource.FeedOptions{Live: true, Limit: records}) {
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	data := bytes.Repeat([]byte("x"), 128<<10)
	for range records {
		rec := event.Record{ID: event.NewID(), Type: "x", Schema: 1, Data: data}
		if _, err := st.Append(t.Context(), event.Stream{Category: "x", ID: "1"}, eventsource.Any, rec); err != nil {
			t.Fatal(err)
		}
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	wal, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if wal.Size() > 32<<20 {
		t.Errorf("the log has %d MiB", wal.Size()>>20)
	}
}
