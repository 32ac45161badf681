// Package rpi_test holds calls against real databases, processes and the
// registry.
package rpi_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"

	"connectrpc.com/connect/v2"
	"github.com/cleave-go/cleave/conformance/internal/dbtest"
	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/sqldb"
)

var quiet = slog.New(slog.DiscardHandler)

// remote returns a client of the echo services at addrs.
func remote(t *testing.T, o *rpi.RemoteOptions, addrs ...string) echoapi.EchoServiceClient {
	t.Helper()
	return remoteOf(t, discovery.Static(map[string][]string{"echo": addrs}), o)
}

func remoteOf(t *testing.T, r discovery.Resolver, o *rpi.RemoteOptions) echoapi.EchoServiceClient {
	t.Helper()
	o.Logger = quiet
	transport := rpi.Remote("echo", r, o)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { transport.Run(ctx) }) // ends with ctx
	t.Cleanup(func() { cancel(); running.Wait() })
	return echoapi.NewEchoServiceClient(connect.NewClient(transport))
}

// ledger stores each text it is sent, and answers with the number of its row.
type ledger struct {
	echoapi.UnimplementedEchoServiceHandler
	db      *sqldb.DB
	entered atomic.Int64
	fail    atomic.Bool
}

var errNotNow = errors.New("not now")

func (l *ledger) Store(ctx context.Context, r *echoapi.EchoRequest) (res *echoapi.EchoResponse, err error) {
	l.entered.Add(1)
	err = l.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		res, err = rpi.Once(ctx, tx, func() (*echoapi.EchoResponse, error) {
			if _, err := tx.ExecContext(ctx, "INSERT INTO ledger (text) VALUES (?)", r.Text); err != nil {
				return nil, err
			}
			if l.fail.Swap(false) {
				return nil, connect.NewError(connect.CodeUnavailable, errNotNow.Error())
			}
			var n int64
			err := tx.QueryRowContext(ctx, "SELECT count(*) FROM ledger").Scan(&n)
			return &echoapi.EchoResponse{Number: n, Text: r.Text}, err
		})
		return err
	})
	return res, err
}

// cutting breaks the connection of every other answer when it is complete.
func cutting(next http.Handler) http.Handler {
	var n atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%2 == 0 {
			next.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})
}

func TestARepeatedCallIsAnsweredWithTheReplyOfTheFirst(t *testing.T) {
	t.Parallel()
	db, err := sqldb.Open(t.Context(), dbtest.At(t, filepath.Join(t.TempDir(), "l.db")), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(t.Context(), fstest.MapFS{
		"1.sql": {Data: []byte("CREATE TABLE ledger (n " + dbtest.Serial(db) + ", text TEXT NOT NULL)")},
		"2.sql": {Data: []byte(rpi.OnceSchema)},
	}); err != nil {
		t.Fatal(err)
	}
	var addrs []string
	var both [2]*ledger // of one database
	for i := range both {
		both[i] = &ledger{db: db}
		s := rpi.NewServer(&rpi.ServerOptions{Logger: quiet})
		echoapi.RegisterEchoServiceHandler(s, both[i])
		server := httptest.NewUnstartedServer(cutting(rpi.Handler(s)))
		server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
		server.Start()
		defer server.Close()
		addrs = append(addrs, server.Listener.Addr().String())
	}
	client := remote(t, &rpi.RemoteOptions{Attempts: 6}, addrs...)
	const calls = 30
	for n := range int64(calls) {
		if n == 10 {
			both[0].fail.Store(true)
			both[1].fail.Store(true)
		}
		res, err := client.Store(t.Context(), &echoapi.EchoRequest{Text: "same"})
		if err != nil || res.Number != n+1 || res.Text != "same" {
			t.Fatalf("call %d: got %v, %v, want row %d", n, res, err, n+1)
		}
	}
	var rows, kept int
	if err := db.QueryRowContext(t.Context(), "SELECT (SELECT count(*) FROM ledger), (SELECT count(*) FROM cleave_replies)").Scan(&rows, &kept); err != nil {
		t.Fatal(err)
	}
	entered := both[0].entered.Load() + both[1].entered.Load()
	if rows != calls || kept != calls || entered <= calls {
		t.Errorf("%d calls entered the handlers %d times and left %d rows and %d replies, want %d rows", calls, entered, rows, kept, calls)
	}
	t.Logf("%d calls entered the handlers %d times and left %d rows", calls, entered, rows)
}
