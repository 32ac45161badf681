package deliveries_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/cleave-go/cleave/examples/ftgo/delivery/internal/deliveries"
	_ "github.com/cleave-go/cleave/kit" // the SQLite driver
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/sqldb"
)

var (
	now   = time.Date(2026, 11, 2, 18, 30, 0, 0, time.UTC)
	ready = now.Add(20 * time.Minute)
)

type desk struct {
	t  *testing.T
	db *sqldb.DB
}

func open(t *testing.T) desk {
	db, err := sqldb.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "delivery.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := errors.Join(outbox.Setup(t.Context(), db), db.Migrate(t.Context(), os.DirFS("../../migrations"))); err != nil {
		t.Fatal(err)
	}
	return desk{t, db}
}

func (d desk) do(f func(ctx context.Context, tx sqldb.Tx) error) {
	d.t.Helper()
	if err := d.db.Update(d.t.Context(), f); err != nil {
		d.t.Fatal(err)
	}
}

func (d desk) accepted(order string) {
	d.t.Helper()
	d.do(func(ctx context.Context, tx sqldb.Tx) error {
		if err := deliveries.Create(ctx, tx, deliveries.Delivery{OrderID: order, ConsumerID: "c", RestaurantID: "r"}); err != nil {
			return err
		}
		return deliveries.Accept(ctx, tx, order, ready)
	})
}

func (d desk) available(courier string, yes bool) {
	d.t.Helper()
	d.do(func(ctx context.Context, tx sqldb.Tx) error { return deliveries.SetAvailable(ctx, tx, courier, yes) })
}

func (d desk) find(order string) deliveries.Delivery {
	d.t.Helper()
	found, err := deliveries.BatchGet(d.t.Context(), d.db, []string{order})
	if err != nil || len(found) != 1 {
		d.t.Fatalf("got %v, %v", found, err)
	}
	return found[0]
}

func TestTheCourierWithTheFewestDeliveriesIsSent(t *testing.T) {
	d := open(t)
	d.available("ann", true)
	d.available("bob", true)
	for i, want := range []string{"ann", "bob", "ann", "bob"} {
		order := string(rune('1' + i))
		d.accepted(order)
		if got := d.find(order); got.CourierID != want || got.Status != deliveries.Scheduled || !got.PickUpTime.Equal(ready) {
			t.Errorf("order %s: got %+v, want %s", order, got, want)
		}
	}
}

func TestDeliveriesWaitUntilSomebodyIsAvailable(t *testing.T) {
	d := open(t)
	d.available("ann", false)
	d.accepted("1")
	d.accepted("2")
	if got := d.find("1"); got.Status != deliveries.Pending {
		t.Fatalf("got %+v, want it to wait", got)
	}
	d.available("bob", true)
	for _, order := range []string{"1", "2"} {
		if got := d.find(order); got.CourierID != "bob" {
			t.Errorf("got %+v, want bob to take it", got)
		}
	}
}

func TestFoodIsPickedUpWhenItIsReadyByItsCourier(t *testing.T) {
	d := open(t)
	d.available("ann", true)
	d.accepted("1")
	pickUp := func(courier string) error {
		return d.db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
			_, _, err := deliveries.RecordPickUp(ctx, tx, "1", func(id string) bool { return id == courier }, now)
			return err
		})
	}
	if err := pickUp("ann"); !errors.Is(err, deliveries.ErrNotReady) {
		t.Errorf("before it is ready: got %v", err)
	}
	d.do(func(ctx context.Context, tx sqldb.Tx) error { return deliveries.Ready(ctx, tx, "1") })
	if err := pickUp("bob"); !errors.Is(err, deliveries.ErrUnknown) {
		t.Errorf("by somebody else: got %v", err)
	}
	for range 2 {
		if err := pickUp("ann"); err != nil {
			t.Error(err)
		}
	}
	d.do(func(ctx context.Context, tx sqldb.Tx) error {
		_, _, err := deliveries.RecordDropOff(ctx, tx, "1", func(string) bool { return true }, now)
		return err
	})
	if got := d.find("1"); got.Status != deliveries.Delivered || !got.DeliveryTime.Equal(now) {
		t.Errorf("got %+v", got)
	}
}

func TestACancelledTicketCallsTheCourierOff(t *testing.T) {
	d := open(t)
	d.available("ann", true)
	d.accepted("1")
	d.do(func(ctx context.Context, tx sqldb.Tx) error { return deliveries.Cancel(ctx, tx, "1") })
	if got := d.find("1"); got.Status != deliveries.Cancelled {
		t.Errorf("got %+v", got)
	}
	d.accepted("2")
	if got := d.find("2"); got.CourierID != "ann" {
		t.Errorf("got %+v, want ann free again", got)
	}
}
