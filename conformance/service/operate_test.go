package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/internal/opsapi"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/service"
	"github.com/cleave-go/cleave/sqldb"
)

// ops asks an admin listener, with the token unless it is "".
func ops(t *testing.T, method, addr, path, token string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+"/ops/"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// ordering is a service that records n events when it starts, and keeps a view
// of them.
func ordering(n int) service.Service {
	return func(ctx context.Context, h *service.Host) error {
		db, err := h.DB(ctx, nil)
		if err != nil {
			return err
		}
		for range n {
			err := db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
				_, err := outbox.Add(ctx, tx, event.Stream{Category: "order", ID: "1"}, event.Record{Type: "order.placed", Schema: 1, Data: []byte(`{"n":1}`)})
				return err
			})
			if err != nil {
				return err
			}
		}
		r, err := projection.NewRunner(db, h.Bus(), nil, projection.Projection{Name: "orders", Sources: []string{"order"},
			Apply: func(context.Context, sqldb.Tx, bus.Message) error { return nil },
			Reset: func(context.Context, sqldb.Tx) error { return nil }})
		if err != nil {
			return err
		}
		h.Run("relay", outbox.NewRelay("order", db, h.Bus(), nil).Run)
		h.Run("views", r.Run)
		h.Operate("projection", r.Operations())
		return nil
	}
}

// serve runs the service order on a folder until stop.
func serve(t *testing.T, dir string, create service.Service, log io.Writer, environ ...string) (admin string, stop func()) {
	t.Helper()
	started := make(chan service.Addresses, 1)
	stop = background(t, "order", func(ctx context.Context) error {
		return service.Run(ctx, []service.Named{{Name: "order", New: create}}, &service.Options{
			Environ: append(environ, "CLEAVE_DATA="+dir), Logger: slog.New(slog.NewTextHandler(log, nil)),
			Started: func(a service.Addresses) { started <- a }, Linger: time.Millisecond,
		})
	})
	select {
	case a := <-started:
		return a.Admin, stop
	case <-time.After(30 * time.Second):
		t.Fatal("the service did not start")
		return "", nil
	}
}

func TestAServiceIsOperatedWithTheToken(t *testing.T) {
	admin, _ := serve(t, t.TempDir(), ordering(5), io.Discard, "CLEAVE_TOKEN=a-token")
	for _, token := range []string{"", "x"} {
		if code, body := ops(t, "GET", admin, "order/events/", token); code != http.StatusUnauthorized {
			t.Errorf("token %q: %d %s", token, code, body)
		}
	}
	tests := []struct{ method, path, want string }{
		{"GET", "order/events/head", `"head":5`},
		{"GET", "order/events/?after=3", `"position":4`},
		{"GET", "order/events/?after=3&limit=1", `"data":{"n":1}`},
		{"GET", "order/events/?stream=order/1", `"version":5`},
		{"GET", "order/projection/", `"projection":"orders","version":0,"live":true`},
		{"GET", "order/projection/parked", `[]`},
		{"POST", "order/projection/rebuild?name=orders", `"done":5,"head":5`},
		{"POST", "order/projection/rebuild?name=x", "no projection is named x"},
		{"POST", "order/projection/retry?name=orders&stream=order/1", "not parked"},
		{"POST", "order/events/epoch", "nothing to decide"},
		{"GET", "order/saga/", "not found"},
	}
	for _, tt := range tests {
		if _, body := ops(t, tt.method, admin, tt.path, "a-token"); !strings.Contains(body, tt.want) {
			t.Errorf("%s %s: %s, want %q", tt.method, tt.path, body, tt.want)
		}
	}
	bare, _ := serve(t, t.TempDir(), ordering(1), io.Discard)
	if code, body := ops(t, "GET", bare, "order/events/", "a-token"); code != http.StatusForbidden || !strings.Contains(body, "CLEAVE_TOKEN") {
		t.Errorf("without a token of its own: %d %s", code, body)
	}
}

// T17 as an operator meets it: the service comes back on an older copy of its
// database, and has recorded more; nothing of it leaves until a person decides;
// then those who follow get what the bus never carried, once.
func TestTrapT17ARestoredServiceWaitsForAPerson(t *testing.T) {
	broker := startBroker(t)
	dir, backup := t.TempDir(), filepath.Join(t.TempDir(), "backup")
	environ := []string{"NATS_URL=" + broker, "CLEAVE_TOKEN=a-token"}
	_, stop := serve(t, dir, ordering(20), io.Discard, environ...)
	stop()
	if err := os.CopyFS(backup, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	admin, stop := serve(t, dir, ordering(10), io.Discard, environ...) // positions 21 to 30 are going to be lost
	positions := make(chan bus.Message, 100)
	startService(t, "history", func(ctx context.Context, h *service.Host) error {
		db, err := h.DB(ctx, nil)
		if err != nil {
			return err
		}
		c := bus.Consumer{Name: "view", DB: db, Bus: h.Bus(), Filter: bus.Filter{Source: "order"}, Handle: func(_ context.Context, _ sqldb.Tx, m bus.Message) error {
			positions <- m
			return nil
		}}
		h.Run("view", c.Run)
		return nil
	}, "NATS_URL="+broker)
	take := func(want event.Position) bus.Message {
		t.Helper()
		select {
		case m := <-positions:
			if m.Position != want {
				t.Fatalf("got position %d, want %d", m.Position, want)
			}
			return m
		case <-time.After(30 * time.Second):
			t.Fatalf("position %d did not come", want)
		}
		panic("unreachable")
	}
	var before bus.Message
	for p := event.Position(1); p <= 30; p++ {
		before = take(p)
	}
	if code, body := ops(t, "POST", admin, "order/events/epoch", "a-token"); code != http.StatusConflict {
		t.Errorf("a new epoch without a reason: %d %s", code, body)
	}
	stop()

	var log bytes.Buffer
	admin, stop = serve(t, backup, ordering(5), &log, environ...) // other events at positions 21 to 25
	select {
	case m := <-positions:
		t.Fatalf("position %d was published over the past", m.Position)
	case <-time.After(500 * time.Millisecond):
	}
	code, body := ops(t, "POST", admin, "order/events/epoch", "a-token")
	var epoch opsapi.Epoch
	if err := json.Unmarshal([]byte(body), &epoch); code != http.StatusOK || err != nil || epoch.After != 20 || epoch.Epoch <= before.Place.Epoch {
		t.Fatalf("the new epoch: %d %s, %v; want it behind position 20", code, body, err)
	}
	for p := event.Position(21); p <= 25; p++ {
		if m := take(p); m.Place.Epoch != epoch.Epoch {
			t.Errorf("position %d is of epoch %s", p, m.Place.Epoch)
		}
	}
	stop()
	if !strings.Contains(log.String(), "stands still until a person decides") {
		t.Errorf("the log says\n%s", log.String())
	}
	_, stop = serve(t, backup, ordering(3), io.Discard, environ...)
	defer stop()
	for p := event.Position(26); p <= 28; p++ {
		take(p)
	}
	if len(positions) > 0 {
		t.Error(fmt.Sprint("more came: ", (<-positions).Position))
	}
}
