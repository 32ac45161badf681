package postgres_test

import (
	"testing"
	"time"

	"github.com/cleave-go/cleave/conformance/internal/dbtest"
	"github.com/cleave-go/cleave/conformance/internal/pgtest"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/eventsourcetest"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
)

// TestRandomTransactions runs on both databases, with CLEAVE_LONG a million
// transactions each.
func TestRandomTransactions(t *testing.T) {
	n := 3000
	if long() {
		n = 1_000_000
	}
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		url := e.URL(t)
		db, other := open(t, url, nil), open(t, url, nil)
		start := time.Now()
		eventsourcetest.Random(t, eventsourcetest.Backend{Store: sqlstore.New(db), Other: sqlstore.New(other), Update: db.Update}, n)
		t.Logf("%.0f transactions a second", float64(n)/time.Since(start).Seconds())
		var gaps int
		if err := db.QueryRowContext(t.Context(), "SELECT count(*) FROM es_event WHERE category = '$gap'").Scan(&gaps); err != nil {
			t.Error(err)
		}
		t.Logf("%d holes sealed", gaps)
	})
}

// TestTheFeedIsNotLateBehindAnOpenTransactionElsewhere holds a write transaction
// open in another database of the server while events come, for a minute with
// CLEAVE_LONG.
func TestTheFeedIsNotLateBehindAnOpenTransactionElsewhere(t *testing.T) {
	elsewhere := open(t, pgtest.Database(t), nil)
	release := hold(t, elsewhere, sqlstore.New(elsewhere), stream("elsewhere"))
	defer release(nil)
	url := pgtest.Database(t)
	here, reader := sqlstore.New(open(t, url, nil)), sqlstore.New(open(t, url, nil))
	duration := 2 * time.Second
	if long() {
		duration = time.Minute
	}
	n := int(duration / (20 * time.Millisecond))
	seen := follow(t, reader, n)
	var longest time.Duration
	for range n {
		start := time.Now()
		r := record()
		appended(t, here, event.Stream{Category: "order", ID: r.ID.String()}, eventsource.NoStream, r)
		next(t, seen, 2*time.Second)
		longest = max(longest, time.Since(start))
		time.Sleep(max(0, 20*time.Millisecond-time.Since(start)))
	}
	t.Logf("%d events by another handle, at most %v late", n, longest)
	if longest > time.Second {
		t.Errorf("an event was %v late", longest)
	}
}
