package projection_test

import (
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus/membus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/outbox"
)

// A stream is truncated, archived and purged under a running view, and views are
// built after each.
func TestAViewIsBuiltOfWhatIsLeftOfStreams(t *testing.T) {
	b, theirs := membus.New(), fresh(t)
	defer background(t, outbox.NewRelay("order", theirs, b, nil).Run)()
	st := sqlstore.New(theirs)
	s := event.Stream{Category: "order", ID: "o"}
	var token event.Token
	for range 5 {
		token = record[orderEvent](t, "order", theirs, orders, s, placed{1})
	}
	kept := fresh(t)
	old := runner(t, kept, b, time.Minute, view(never))
	defer background(t, old.Run)()
	// want compares the view that was there, and one that is built anew.
	want := func(what string, before, now int) {
		t.Helper()
		anew := fresh(t)
		r := runner(t, anew, b, time.Minute, view(never))
		stop := background(t, r.Run)
		defer stop()
		if err := old.Wait(t.Context(), "history", token); err != nil {
			t.Fatal(err)
		}
		if err := r.Wait(t.Context(), "history", token); err != nil {
			t.Fatal(err)
		}
		if got, built := total(t, kept, "o"), total(t, anew, "o"); got != before || built != now {
			t.Errorf("%s: the view says %d, one that is built anew %d, want %d and %d", what, got, built, before, now)
		}
	}
	want("whole", 5, 5)
	if err := st.Truncate(t.Context(), s, 4); err != nil {
		t.Fatal(err)
	}
	want("truncated", 5, 5)
	if err := st.Archive(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	want("archived", 5, 5)
	if n, err := st.Purge(t.Context(), s, 5); err != nil || n != 3 {
		t.Fatalf("purged %d, %v", n, err)
	}
	want("purged", 5, 2)
	token = record[orderEvent](t, "order", theirs, orders, event.Stream{Category: "order", ID: "p"}, placed{1})
	want("purged, and something else recorded", 5, 2)
}
