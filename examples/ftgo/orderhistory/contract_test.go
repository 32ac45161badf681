package orderhistory

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/contract"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/examples/ftgo/order/orderapi"
	"github.com/cleave-go/cleave/examples/ftgo/orderhistory/internal/history"
	_ "github.com/cleave-go/cleave/kit" // the database driver
	"github.com/cleave-go/cleave/sqldb"
)

// The contract of the view with the order service lies with the latter.
var withOrder = &contract.Options{Dir: "../order/contracts"}

var stream = event.Stream{Category: orderapi.Category, ID: "order-1"}

func openView(t *testing.T) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "view.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.Migrate(t.Context(), migrations); err != nil {
		t.Fatal(err)
	}
	return db
}

// apply gives events to the real projection.
func apply(db *sqldb.DB) func(context.Context, event.Record) error {
	return func(ctx context.Context, r event.Record) error {
		return db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
			return history.Projection().Apply(ctx, tx, bus.Message{Source: "order", Record: r})
		})
	}
}

func shown(t *testing.T, db *sqldb.DB) history.Order {
	t.Helper()
	found, err := history.List(t.Context(), db, history.Query{ConsumerID: "consumer-1", Keyword: "vindaloo", Limit: 10})
	if err != nil || len(found) != 1 {
		t.Fatalf("the view shows %d orders, %v", len(found), err)
	}
	return found[0]
}

func items(name string) []orderapi.OrderedItem {
	return []orderapi.OrderedItem{{MenuItemID: "vindaloo", Name: name, Price: orderapi.Amount{Amount: 1200, Currency: "USD"}, Quantity: 2}}
}

func placed() *orderapi.Placed {
	return &orderapi.Placed{
		ConsumerID: "consumer-1", RestaurantID: "restaurant-1", RestaurantName: "Ajanta",
		LineItems: items("Chicken Vindaloo"), Total: orderapi.Amount{Amount: 2400, Currency: "USD"},
		DeliveryAddress: orderapi.PostalAddress{Street1: "1 High Street", City: "Oakland", State: "CA", Zip: "94612"},
		PlacedAt:        time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
	}
}

// given puts a placed order into the view, as the events before would have.
func given(t *testing.T, db *sqldb.DB) {
	t.Helper()
	r, err := orderapi.Codec.Encode(*placed())
	if err != nil {
		t.Fatal(err)
	}
	r.Stream = stream
	if err := apply(db)(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func TestViewShowsAPlacedOrder(t *testing.T) {
	c, db, e := contract.New(t, "orderhistory", "order", withOrder), openView(t), placed()
	contract.Event(c, orderapi.Codec, stream, e,
		contract.Time(&e.PlacedAt, "yyyy-MM-dd'T'HH:mm:ss[.SSSSSSSSS][.SSSSSSSS][.SSSSSSS][.SSSSSS][.SSSSS][.SSSS][.SSS][.SS][.S]XXX"),
		contract.Integer(&e.Total.Amount), contract.Integer(&e.LineItems[0].Price.Amount), contract.Integer(&e.LineItems[0].Quantity),
		contract.Regex(&e.Total.Currency, "[A-Z]{3}")).
		Given("an order was placed").
		HandledBy(apply(db))
	if o := shown(t, db); o.Status != "APPROVAL_PENDING" || o.Total.Amount != 2400 || !o.PlacedAt.Equal(e.PlacedAt) || o.ID != "order-1" {
		t.Errorf("the view shows %+v", o)
	}
}

func TestViewFollowsAnOrder(t *testing.T) {
	t.Run("approved", func(t *testing.T) {
		c, db := contract.New(t, "orderhistory", "order", withOrder), openView(t)
		given(t, db)
		contract.Event(c, orderapi.Codec, stream, &orderapi.Approved{}).Given("an order was approved").HandledBy(apply(db))
		if o := shown(t, db); o.Status != "APPROVED" {
			t.Errorf("the view shows %+v", o)
		}
	})
	t.Run("rejected", func(t *testing.T) {
		c, db := contract.New(t, "orderhistory", "order", withOrder), openView(t)
		given(t, db)
		e := &orderapi.Rejected{Reason: "CARD_EXPIRED"}
		contract.Event(c, orderapi.Codec, stream, e, contract.NotEmpty(&e.Reason)).Given("an order was rejected").HandledBy(apply(db))
		if o := shown(t, db); o.Status != "REJECTED" || o.RejectionReason != "CARD_EXPIRED" {
			t.Errorf("the view shows %+v", o)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		c, db := contract.New(t, "orderhistory", "order", withOrder), openView(t)
		given(t, db)
		contract.Event(c, orderapi.Codec, stream, &orderapi.Cancelled{}).Given("an order was cancelled").HandledBy(apply(db))
		if o := shown(t, db); o.Status != "CANCELLED" {
			t.Errorf("the view shows %+v", o)
		}
	})
	t.Run("revised", func(t *testing.T) {
		c, db := contract.New(t, "orderhistory", "order", withOrder), openView(t)
		given(t, db)
		e := &orderapi.Revised{LineItems: items("Lamb Vindaloo"), Total: orderapi.Amount{Amount: 2400, Currency: "USD"}}
		contract.Event(c, orderapi.Codec, stream, e, contract.Integer(&e.Total.Amount)).Given("an order was revised").HandledBy(apply(db))
		if o := shown(t, db); o.Status != "APPROVED" || o.LineItems[0].Name != "Lamb Vindaloo" {
			t.Errorf("the view shows %+v", o)
		}
	})
}
