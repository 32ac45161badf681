package docs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/event/cloudevents"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/memstore"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/sqldb"
)

// A service that keeps state in tables tells of a change with it.
func deposit(ctx context.Context, db *sqldb.DB, account string, cents int64) error {
	rec, err := AccountCodec.Encode(Deposited{cents})
	if err != nil {
		return err
	}
	return db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		if _, err := tx.ExecContext(ctx, "UPDATE account SET cents = cents + ? WHERE id = ?", cents, account); err != nil {
			return err
		}
		_, err := outbox.Add(ctx, tx, event.Stream{Category: "account", ID: account}, rec)
		return err
	})
}

// A service that follows the events of another.
func follow(ctx context.Context, db *sqldb.DB, b bus.Bus) error {
	balances := bus.Consumer{
		Name: "balances", DB: db, Bus: b,
		Filter: bus.Filter{Source: "accounting", Subjects: []string{"evt.accounting.account.>"}},
		Handle: func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
			e, err := AccountCodec.Decode(m.Record)
			if errors.Is(err, event.ErrUnknownType) {
				return nil // of a newer release, and nothing to us
			}
			if err != nil {
				return err
			}
			if d, ok := e.Data.(Deposited); ok {
				_, err = tx.ExecContext(ctx, "UPDATE balance SET cents = cents + ? WHERE account = ?", d.Cents, e.Stream.ID)
			}
			return err
		},
		OnError: bus.Policy{Park: true},
	}
	return balances.Run(ctx)
}

// What comes in no order, and perhaps twice, has its effect once.
func receive(db *sqldb.DB) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		e, err := cloudevents.Read(r.Header, body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		err = db.Update(r.Context(), func(ctx context.Context, tx sqldb.Tx) error {
			_, err := outbox.Once(ctx, tx, "webhook", e.ID, func() error {
				_, err := tx.ExecContext(ctx, "INSERT INTO seen (type, data) VALUES (?, ?)", e.Type, []byte(e.Data))
				return err
			})
			return err
		})
		if err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
		}
	}
}

var (
	_ = deposit
	_ = follow
	_ = receive
)

// A command is caused by a request, an event by the command, and so on.
func Example_causation() {
	store := memstore.New()
	accounts := eventsource.NewRepository(store, Accounts)
	deposit := func(Account) ([]AccountEvent, error) { return []AccountEvent{Deposited{5}}, nil }

	ctx := event.WithMeta(context.Background(), event.Meta{Correlation: "request-81", Actor: "ana"})
	if _, err := accounts.Do(ctx, "7", deposit); err != nil {
		log.Fatal(err)
	}
	for first := range store.Feed(ctx, eventsource.FeedOptions{Limit: 1}) {
		ctx = event.WithMeta(context.Background(), event.Follows(first)) // a Consumer does this for its handler
		if _, err := accounts.Do(ctx, "8", deposit); err != nil {
			log.Fatal(err)
		}
		for second := range store.Feed(ctx, eventsource.FeedOptions{After: first.Position}) {
			fmt.Println(second.Meta.Correlation, second.Meta.Actor, second.Meta.Causation == first.ID.String())
		}
	}
	// Output: request-81 ana true
}

// Events for others, over HTTP.
func Example_webhook() {
	received := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		e, err := cloudevents.Read(r.Header, body)
		fmt.Println(e.Type, e.Stream, string(e.Data), err)
	}))
	defer received.Close()
	rec := event.Record{ID: event.NewID(), Stream: event.Stream{Category: "account", ID: "7"}, Type: "account.deposited", Schema: 1,
		Data: json.RawMessage(`{"Cents":5}`)}

	text, err := cloudevents.Marshal(cloudevents.Event{Source: "/accounting", Record: rec})
	if err != nil {
		log.Fatal(err)
	}
	resp, err := http.Post(received.URL, cloudevents.ContentType, bytes.NewReader(text))
	if err != nil {
		log.Fatal(err)
	}
	resp.Body.Close()
	// Output: account.deposited account/7 {"Cents":5} <nil>
}
