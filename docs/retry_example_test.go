package docs_test

import (
	"context"
	"log"
	"net/http"
	"time"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
	"github.com/cleave-go/cleave/sqldb"
)

// An idempotent method that answers a repeated call as it answered the first.
type kept struct {
	echoapi.UnimplementedEchoServiceHandler
	db *sqldb.DB
}

func (n *kept) Store(ctx context.Context, r *echoapi.EchoRequest) (res *echoapi.EchoResponse, err error) {
	err = n.db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		res, err = rpi.Once(ctx, tx, func() (*echoapi.EchoResponse, error) {
			added, err := tx.ExecContext(ctx, "INSERT INTO notes (text) VALUES (?)", r.Text)
			if err != nil {
				return nil, err
			}
			id, err := added.LastInsertId()
			return &echoapi.EchoResponse{Number: id}, err
		})
		return err
	})
	return res, err
}

// A transport that does not wait for the slow few.
func Example_slowFew() {
	kitchen := rpi.Remote("kitchen", discovery.Static(nil), &rpi.RemoteOptions{
		PerTry: 2 * time.Second, // another instance gets the rest of the call's time
		Hedge:  true,
	})
	_ = kitchen
}

// Plain HTTP through the same chain.
func Example_plainHTTP() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	provider := rpi.NewRoundTripper("provider", discovery.Static(map[string][]string{"provider": {"127.0.0.1:8080"}}), nil)
	go provider.Run(ctx)
	client := &http.Client{Transport: provider}

	res, err := client.Get("http://provider/rates")
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
}
