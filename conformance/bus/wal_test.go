package bus_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/bustest"
	"github.com/cleave-go/cleave/conformance/internal/dbtest"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/sqldb"
)

// The disk of a service loses the end of SQLite's log, which it had said to be
// written, after the bus had got what was in it: the relay refuses to publish
// other events in their place.
func TestTrapT12AnEndOfTheLogThatIsLostIsNotPublishedOver(t *testing.T) {
	b := newBroker(t).connect(silent)
	open := func(path string) *sqldb.DB {
		db := dbtest.Open(t, "sqlite:"+path, nil)
		if err := outbox.Setup(t.Context(), db); err != nil {
			t.Fatal(err)
		}
		return db
	}
	path := filepath.Join(t.TempDir(), "order.db")
	open(path).Close() // its tables are in the file itself
	db := open(path)
	stop := start(t, outbox.NewRelay("order", db, b, nil).Run)
	add(t, db, 10)
	f := bustest.Follow(t, b, order, bus.Place{})
	f.Want(1, 10)
	f.Stop()
	stop()

	cut := filepath.Join(t.TempDir(), "order.db")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if suffix != "" {
			data = data[:len(data)/2]
		}
		if err := os.WriteFile(cut+suffix, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := open(cut)
	add(t, old, 1)
	ctx, cancel := context.WithTimeout(t.Context(), bustest.Patience)
	defer cancel()
	if err := outbox.NewRelay("order", old, b, &outbox.Options{Logger: quiet}).Run(ctx); !errors.Is(err, bus.ErrAhead) {
		t.Errorf("got %v, want ErrAhead", err)
	}
}
