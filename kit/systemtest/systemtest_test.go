package systemtest_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/kit"
	"github.com/cleave-go/cleave/kit/systemtest"
	"github.com/cleave-go/cleave/service"
	"github.com/cleave-go/cleave/sqldb"
)

// notes keeps what it is told in its own database.
type notes struct {
	echoapi.UnimplementedEchoServiceHandler
	db *sqldb.DB
}

func newNotes(ctx context.Context, h *service.Host) error {
	db, err := h.DB(ctx, nil)
	if err != nil {
		return err
	}
	err = db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS note (text TEXT)")
		return err
	})
	if err != nil {
		return err
	}
	echoapi.RegisterEchoServiceHandler(h.Server(), &notes{db: db})
	return nil
}

func (n *notes) Store(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	var count int64
	err := n.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO note VALUES (?)", r.Text); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "SELECT count(*) FROM note").Scan(&count)
	})
	return &echoapi.EchoResponse{Number: count}, err
}

// newPage is a gateway in front of notes.
func newPage(_ context.Context, h *service.Host) error {
	h.Edge("")
	notes := echoapi.NewEchoServiceClient(h.Client("notes"))
	h.Handle("POST /notes", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(io.LimitReader(r.Body, 1024))
		if err != nil {
			http.Error(w, "unreadable", http.StatusBadRequest)
			return
		}
		if _, err := notes.Store(r.Context(), &echoapi.EchoRequest{Text: string(text)}); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	}))
	return nil
}

func TestASystemIsTheSameTogetherAndApart(t *testing.T) {
	t.Parallel()
	for name, apart := range map[string]bool{"together": false, "apart": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := systemtest.Start(t, &systemtest.Options{Apart: apart},
				kit.Service{Name: "page", New: newPage}, kit.Service{Name: "notes", New: newNotes})
			res, err := http.Post(s.URL("page")+"/notes", "text/plain", strings.NewReader("first"))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
				t.Fatalf("status %d: %s", res.StatusCode, body)
			}
			second, err := echoapi.NewEchoServiceClient(s.Client("notes")).Store(t.Context(), &echoapi.EchoRequest{Text: "second"})
			if err != nil || second.Number != 2 {
				t.Errorf("got %v, %v; want the second note", second, err)
			}
			if s.URL("page") == s.URL("notes") {
				t.Error("the gateway shares a listener")
			}
		})
	}
}

func TestARestartedServiceFindsItsData(t *testing.T) {
	t.Parallel()
	own := kit.Service{Name: "notes", New: newNotes}
	s := systemtest.Start(t, &systemtest.Options{Apart: true}, own)
	for want := range int64(3) {
		got, err := echoapi.NewEchoServiceClient(s.Client("notes")).Store(t.Context(), &echoapi.EchoRequest{Text: "x"})
		if err != nil || got.Number != want+1 {
			t.Fatalf("got %v, %v; want note %d", got, err, want+1)
		}
		s.Stop("notes")
		s.Restart(own)
	}
}

func TestCallsBeforeTheProcessIsComposedSaySo(t *testing.T) {
	t.Parallel()
	early := func(ctx context.Context, h *service.Host) error {
		_, err := echoapi.NewEchoServiceClient(h.Client("early")).Echo(ctx, &echoapi.EchoRequest{})
		if connect.CodeOf(err) != connect.CodeUnavailable || !strings.Contains(err.Error(), "before the process was composed") {
			t.Errorf("got %v", err)
		}
		return nil
	}
	systemtest.Start(t, nil, kit.Service{Name: "early", New: early})
}
