package history_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
	"github.com/cleave-go/cleave/examples/ftgo/orderhistory/internal/history"
	_ "github.com/cleave-go/cleave/kit" // the SQLite driver
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/projection/projectiontest"
	"github.com/cleave-go/cleave/sqldb"
)

func open(t testing.TB) *sqldb.DB {
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "history.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := errors.Join(outbox.Setup(t.Context(), db), db.Migrate(t.Context(), os.DirFS("../../migrations"))); err != nil {
		t.Fatal(err)
	}
	return db
}

func item(name string, amount int64, quantity int32) orderapi.OrderedItem {
	return orderapi.OrderedItem{MenuItemID: name, Name: name, Quantity: quantity, Price: orderapi.Amount{Amount: amount, Currency: "USD"}}
}

// lives are orders whose every kind of event the view has to bear.
func lives(t testing.TB) []bus.Message {
	at := time.Date(2026, 11, 2, 18, 0, 0, 0, time.UTC)
	var script []bus.Message
	for i, rest := range [][]orderapi.Event{
		{orderapi.Approved{}},
		{orderapi.Rejected{Reason: "CARD_EXPIRED"}},
		{orderapi.Approved{}, orderapi.CancellationRequested{}, orderapi.CancellationRefused{Reason: "TICKET_STATE"}, orderapi.CancellationRequested{}, orderapi.Cancelled{}},
		{orderapi.Approved{}, orderapi.RevisionProposed{}, orderapi.RevisionRefused{Reason: "CARD_LIMIT"}, orderapi.RevisionProposed{},
			orderapi.Revised{LineItems: []orderapi.OrderedItem{item("Samosa", 300, 4)}, Total: orderapi.Amount{Amount: 1200, Currency: "USD"}}},
	} {
		placed := orderapi.Placed{ConsumerID: "ada", RestaurantID: "r", RestaurantName: "Ajanta", PlacedAt: at.Add(time.Duration(i) * time.Minute),
			LineItems: []orderapi.OrderedItem{item("Vindaloo", 1234, 2)}, Total: orderapi.Amount{Amount: 2468, Currency: "USD"}}
		stream := event.Stream{Category: orderapi.Category, ID: string(rune('1' + i))}
		script = append(script, projectiontest.NewScript(t, "order", orderapi.Codec, stream, append([]orderapi.Event{placed}, rest...)...)...)
	}
	return script
}

func TestTheViewBearsRepetition(t *testing.T) {
	projectiontest.AppliedTwice(t, open, history.Projection(), lives(t)...)
}

func TestOrdersAreFoundInTheView(t *testing.T) {
	db := open(t)
	for _, m := range lives(t) {
		err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error { return history.Projection().Apply(ctx, tx, m) })
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name  string
		query history.Query
		want  string // ids
	}{
		{"newest first", history.Query{}, "4321"},
		{"a page", history.Query{Limit: 2}, "43"},
		{"approved ones", history.Query{Status: "APPROVED"}, "41"},
		{"by restaurant", history.Query{Keyword: "aJANta"}, "4321"},
		{"by what was revised away", history.Query{Keyword: "vindaloo"}, "321"},
		{"by what was revised in", history.Query{Keyword: "samosa"}, "4"},
		{"since", history.Query{Since: time.Date(2026, 11, 2, 18, 2, 0, 0, time.UTC)}, "43"},
	} {
		tt.query.ConsumerID = "ada"
		if tt.query.Limit == 0 {
			tt.query.Limit = 10
		}
		found, err := history.List(t.Context(), db, tt.query)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		for _, o := range found {
			got += o.ID
		}
		if got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}
