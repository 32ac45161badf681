package service_test

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/service"
	"github.com/cleave-go/cleave/sqldb"
)

// Services of one process share a port, and each has a table: a reader says whose
// it reads.
func TestServicesOfOneProcessHaveEachTheirFeed(t *testing.T) {
	t.Parallel()
	owner := func(name string) service.Named {
		return service.Named{Name: name, New: func(ctx context.Context, h *service.Host) error {
			db, err := h.DB(ctx, nil)
			if err != nil {
				return err
			}
			return db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
				_, err := outbox.Add(ctx, tx, event.Stream{Category: name, ID: "1"}, event.Record{Type: name + ".made", Schema: 1, Data: []byte(`{}`)})
				return err
			})
		}}
	}
	started := make(chan service.Addresses, 1)
	background(t, "order and kitchen", func(ctx context.Context) error {
		return service.Run(ctx, []service.Named{owner("order"), owner("kitchen")}, &service.Options{
			Environ: []string{"CLEAVE_DATA=" + t.TempDir()}, Logger: slog.New(slog.DiscardHandler),
			Started: func(a service.Addresses) { started <- a }, Linger: time.Millisecond,
		})
	})
	var at service.Addresses
	select {
	case at = <-started:
	case <-time.After(30 * time.Second):
		t.Fatal("two services with databases do not start in one process")
	}
	for source, want := range map[string]string{"order": "order.made", "kitchen": "kitchen.made", "nobody": "not_found", "": "not_found"} {
		res, err := http.Post("http://"+at.Services["order"]+"/cleave.feed.v1.FeedService/Read", "application/json", strings.NewReader(`{"source": "`+source+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		body := new(strings.Builder)
		if err := res.Write(body); err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if !strings.Contains(body.String(), want) || strings.Count(body.String(), ".made") > 1 {
			t.Errorf("the feed of %q: %s, want %s", source, body, want)
		}
	}
}
