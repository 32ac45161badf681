package kit_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/kit"
	"github.com/cleave-go/cleave/service"
)

type echo struct {
	echoapi.UnimplementedEchoServiceHandler
}

func (echo) Echo(_ context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return &echoapi.EchoResponse{Text: r.Text}, nil
}

func newEcho(ctx context.Context, h *service.Host) error {
	for _, files := range []fs.FS{
		nil, fstest.MapFS{"001.sql": {Data: []byte("CREATE TABLE a (x)")}}, fstest.MapFS{"migrations/002.sql": {Data: []byte("CREATE TABLE b (x)")}},
	} {
		if _, err := h.DB(ctx, files); err != nil {
			return err
		}
	}
	db, err := h.DB(ctx, nil)
	if err != nil {
		return err
	}
	rows, err := db.QueryContext(ctx, "SELECT a.x FROM a, b")
	if err != nil {
		return err
	}
	if err := rows.Close(); err != nil {
		return err
	}
	echoapi.RegisterEchoServiceHandler(h.Server(), echo{})
	h.Handle("GET /hello", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }))
	h.Run("worker", func(ctx context.Context) error { <-ctx.Done(); return nil })
	return nil
}

// start runs services as Main does and returns what its "ready" line says.
func start(t *testing.T, environ []string, services ...kit.Service) map[string]string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	logs, out := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- kit.Run(ctx, []string{"test"}, append([]string{"CLEAVE_DATA=" + t.TempDir()}, environ...), io.Discard, out, services)
		out.Close()
	}()
	lines := bufio.NewScanner(logs)
	t.Cleanup(func() {
		cancel()
		select {
		case status := <-ended:
			if status != 0 {
				t.Errorf("exit status %d", status)
			}
		case <-time.After(20 * time.Second):
			t.Error("did not stop")
		}
	})
	for lines.Scan() {
		var line map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("log line %q: %v", lines.Text(), err)
		}
		if line["msg"] != "ready" {
			continue
		}
		go io.Copy(io.Discard, logs) // keeps the writer going
		addrs := map[string]string{}
		for k, v := range line {
			addrs[k], _ = v.(string)
		}
		return addrs
	}
	t.Fatal("ended before it was ready")
	return nil
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := http.Get(url)
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

func TestMainServesProceduresPagesHealthAndMetrics(t *testing.T) {
	t.Parallel()
	at := start(t, []string{"CLEAVE_TOKEN=hush", "CLEAVE_MAX_CALLS=50"}, kit.Service{Name: "echo", New: newEcho})
	client := echoapi.NewEchoServiceClient(connect.NewClient(connecthttp.NewTransport(http.DefaultClient, "http://"+at["echo"])))
	res, err := client.Echo(t.Context(), &echoapi.EchoRequest{Text: "hi"})
	if err != nil || res.Text != "hi" {
		t.Fatalf("Echo: %v, %v", res, err)
	}
	for _, c := range []struct {
		url, want string
	}{
		{at["echo"] + "/hello", "hello"},
		{at["admin"] + "/livez", "ok"},
		{at["admin"] + "/readyz", "ok"},
		{at["admin"] + "/startupz", "ok"},
		{at["admin"] + "/metrics", `rpc_server_duration_seconds_count{`},
		{at["admin"] + "/metrics", `rpc_server_limit{`},
		{at["admin"] + "/metrics", `rpc_server_shed_total{criticality="critical"`},
		{at["admin"] + "/metrics", "go_goroutines"},
		{at["admin"] + "/loglevel", "info"},
		{at["admin"] + "/config", `{"name":"CLEAVE_TOKEN","value":"…"}`},
		{at["admin"] + "/debug/pprof/goroutine?debug=1", "goroutine profile"},
	} {
		if status, body := get(t, "http://"+c.url); status != 200 || !strings.Contains(body, c.want) {
			t.Errorf("%s: status %d, want %q in %.300s", c.url, status, c.want, body)
		}
	}
}

func TestDescribeTellsWithoutStarting(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	status := kit.Run(t.Context(), []string{"echod", "-describe"}, nil, &out, &errs, []kit.Service{{Name: "echo", New: newEcho}})
	if status != 0 {
		t.Fatalf("status %d: %s", status, &errs)
	}
	var d service.Description
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Services) != 1 || d.Services[0].Name != "echo" || len(d.Services[0].Procedures) != 5 || len(d.Services[0].Workers) != 1 {
		t.Errorf("got %s", &out)
	}
}

func TestWrongUseIsSaidAndExitsWithTwo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args, environ []string
		want          string
		status        int
	}{
		"an argument":          {args: []string{"start"}, want: `unexpected argument "start"`, status: 2},
		"an unknown flag":      {args: []string{"-x"}, want: "not defined: -x", status: 2},
		"an unknown level":     {environ: []string{"CLEAVE_LOG=loud"}, want: "use debug, info, warn or error", status: 2},
		"an unknown service":   {environ: []string{"CLEAVE_SERVICES=nope"}, want: "not built in; there are: echo", status: 1},
		"an address":           {environ: []string{"CLEAVE_LISTEN=8080"}, want: "not an address such as", status: 1},
		"a port":               {environ: []string{"PORT=http"}, want: "not a port number", status: 1},
		"a registry":           {environ: []string{"CLEAVE_REGISTRY=localhost"}, want: "not a URL such as", status: 1},
		"help is not an error": {args: []string{"-h"}, want: "CLEAVE_REGISTRY", status: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var errs bytes.Buffer
			status := kit.Run(t.Context(), append([]string{"echod"}, c.args...), c.environ, io.Discard, &errs, []kit.Service{{Name: "echo", New: newEcho}})
			if status != c.status || !strings.Contains(errs.String(), c.want) {
				t.Errorf("status %d, said %s; want %d, %q", status, &errs, c.status, c.want)
			}
		})
	}
}

func TestDurationsInLogsAreReadable(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log, err := kit.NewLogger(&out, &slog.LevelVar{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	log.Info("done", "took", 1500*time.Microsecond)
	if !strings.Contains(out.String(), `"took":"1.5ms"`) {
		t.Errorf("logged %s", &out)
	}
}
