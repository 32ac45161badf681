package service_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	_ "modernc.org/sqlite"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/platform/messaging"
	"github.com/cleave-go/cleave/service"
	"github.com/cleave-go/cleave/sqldb"
)

// startBroker returns the URL of a broker, with its token.
func startBroker(t *testing.T) string {
	t.Helper()
	ready := make(chan string, 1)
	background(t, "broker", func(ctx context.Context) error {
		return messaging.Run(ctx, messaging.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Token: "a-token", Ready: func(u string) { ready <- u }})
	})
	return <-ready
}

// background runs f until the end of the test or stop.
func background(t *testing.T, what string, f func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := f(ctx); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// startService runs a service with an environment and returns where it listens.
func startService(t *testing.T, name string, create service.Service, environ ...string) service.Addresses {
	t.Helper()
	started := make(chan service.Addresses, 1)
	background(t, name, func(ctx context.Context) error {
		return service.Run(ctx, []service.Named{{Name: name, New: create}}, &service.Options{
			Environ: append(environ, "CLEAVE_DATA="+t.TempDir()), Logger: slog.New(slog.DiscardHandler),
			Started: func(a service.Addresses) { started <- a }, Linger: time.Millisecond,
		})
	})
	select {
	case a := <-started:
		return a
	case <-time.After(30 * time.Second):
		t.Fatal(name + " did not start")
		return service.Addresses{}
	}
}

// A service that begins to follow another when the bus has forgotten most gets
// all its events, in order, over the chassis' own call to the owner.
func TestAServiceFollowsAnotherPastTheBusRetention(t *testing.T) {
	broker := startBroker(t)
	record := make(chan int)
	owner := startService(t, "order", func(ctx context.Context, h *service.Host) error {
		db, err := h.DB(ctx, nil)
		if err != nil {
			return err
		}
		h.Run("relay", outbox.NewRelay("order", db, h.Bus(), nil).Run)
		h.Run("orders", func(ctx context.Context) error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case n := <-record:
					for range n {
						err := db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
							_, err := outbox.Add(ctx, tx, event.Stream{Category: "order", ID: "1"}, event.Record{Type: "order.placed", Schema: 1, Data: []byte(`{}`)})
							return err
						})
						if err != nil {
							return err
						}
					}
				}
			}
		})
		return nil
	}, "NATS_URL="+broker)
	record <- 1500

	nc, err := nats.Connect(broker)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for {
		st, err := js.Stream(t.Context(), "OUT_order")
		if err == nil && st.CachedInfo().State.LastSeq == 1500 {
			if err := st.Purge(t.Context(), jetstream.WithPurgeKeep(10)); err != nil {
				t.Fatal(err)
			}
			break
		}
		time.Sleep(10 * time.Millisecond)
	}

	positions := make(chan event.Position, 2000)
	startService(t, "history", func(ctx context.Context, h *service.Host) error {
		db, err := h.DB(ctx, nil)
		if err != nil {
			return err
		}
		c := bus.Consumer{Name: "view", DB: db, Bus: h.Bus(), Filter: bus.Filter{Source: "order"}, Handle: func(_ context.Context, _ sqldb.Tx, m bus.Message) error {
			positions <- m.Position
			return nil
		}}
		h.Run("view", c.Run)
		return nil
	}, "NATS_URL="+broker, "CLEAVE_ADDR_ORDER="+owner.Services["order"])
	record <- 100
	for want := event.Position(1); want <= 1600; want++ {
		select {
		case p := <-positions:
			if p != want {
				t.Fatalf("got position %d, want %d", p, want)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("position %d did not come", want)
		}
	}

	// Who does not know the bus's token does not read the feed.
	for _, key := range []string{"", "x"} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", fmt.Sprintf("http://%s/cleave.feed.v1.FeedService/Read", owner.Services["order"]), strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Cleave-Feed", key)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusForbidden {
			t.Errorf("key %q: %s %s", key, res.Status, body)
		}
	}
}
