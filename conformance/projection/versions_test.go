package projection_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/membus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/sqldb"
)

// totals is a view of its own table per version.
func totals(version int, apply func(ctx context.Context, tx sqldb.Tx) error) projection.Projection {
	table := fmt.Sprint("totals_", version)
	return projection.Projection{
		Name: "totals", Version: version, Sources: []string{"order"},
		Apply: projection.On(orders, func(ctx context.Context, tx sqldb.Tx, e event.Envelope[orderEvent]) error {
			if apply != nil {
				if err := apply(ctx, tx); err != nil {
					return err
				}
			}
			amount := 0
			switch e := e.Data.(type) {
			case placed:
				amount = e.Amount
			case revised:
				amount = e.By
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO `+table+` (id, total) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET total = `+table+`.total + excluded.total`, e.Stream.ID, amount)
			return err
		}),
		Reset: func(ctx context.Context, tx sqldb.Tx) error {
			_, err := tx.ExecContext(ctx, `DELETE FROM `+table)
			return err
		},
	}
}

func withTotals(t testing.TB) *sqldb.DB {
	db := fresh(t)
	err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		for v := range 4 {
			if _, err := tx.ExecContext(ctx, fmt.Sprintf(`CREATE TABLE totals_%d (id TEXT PRIMARY KEY, total INTEGER NOT NULL)`, v)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func sum(t testing.TB, db *sqldb.DB, version int) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), fmt.Sprint(`SELECT coalesce(sum(total), 0) FROM totals_`, version)).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func several(t testing.TB, db *sqldb.DB, b bus.Bus, ps ...projection.Projection) *projection.Runner {
	t.Helper()
	r, err := projection.NewRunner(db, b, &projection.Options{Logger: quiet, Wait: time.Minute}, ps...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// until looks after each commit in db whether a condition holds.
func until(t testing.TB, db *sqldb.DB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		seen := db.Committed()
		if ok() {
			return
		}
		if _, err := db.AwaitCommit(ctx, seen); err != nil {
			t.Fatalf("not in time: %s: %v", what, err)
		}
	}
}

func place(t testing.TB, db *sqldb.DB, n int) (last event.Token) {
	for range n {
		last = record[orderEvent](t, "order", db, orders, event.Stream{Category: "order", ID: fmt.Sprint(n % 5)}, placed{1})
	}
	return last
}

func TestAVersionIsBuiltBesideTheOneThatIsRead(t *testing.T) {
	b, mine, theirs := membus.New(), withTotals(t), fresh(t)
	defer background(t, outbox.NewRelay("order", theirs, b, nil).Run)()
	old := several(t, mine, b, totals(1, nil))
	stopOld := background(t, old.Run)
	token := place(t, theirs, 100)
	if v, err := old.WaitLive(t.Context(), "totals", token); err != nil || v != 1 || sum(t, mine, 1) != 100 {
		t.Fatalf("version %d, error %v, %d in the view", v, err, sum(t, mine, 1))
	}
	gate := make(chan struct{})
	both := several(t, mine, b, totals(1, nil), totals(2, func(ctx context.Context, _ sqldb.Tx) error {
		select {
		case <-gate:
		case <-ctx.Done():
		default:
			return errors.New("not yet: the gate is closed")
		}
		return ctx.Err()
	}))
	stop := background(t, both.Run)
	token = place(t, theirs, 10)
	if v, err := both.WaitLive(t.Context(), "totals", token); err != nil || v != 1 || sum(t, mine, 1) != 110 {
		t.Errorf("while it is built: version %d, error %v, %d in the view", v, err, sum(t, mine, 1))
	}
	if err := both.Retire(t.Context(), "totals", 1); err == nil {
		t.Error("the version that is read could be retired")
	}
	close(gate)
	until(t, mine, "the switch", func() bool { v, err := both.Live(t.Context(), "totals"); return err == nil && v == 2 })
	if sum(t, mine, 2) < 110 {
		t.Errorf("it was switched to with %d in the view", sum(t, mine, 2))
	}
	stopOld()
	token = place(t, theirs, 10)
	if v, err := both.WaitLive(t.Context(), "totals", token); err != nil || v != 2 || sum(t, mine, 2) != 120 {
		t.Errorf("behind the switch: version %d, error %v, %d in the view", v, err, sum(t, mine, 2))
	}
	stop()
	if err := both.Retire(t.Context(), "totals", 1); err != nil {
		t.Fatal(err)
	}
	late := several(t, mine, b, totals(1, nil))
	stop = background(t, late.Run) // says so in the log, and touches nothing
	time.Sleep(50 * time.Millisecond)
	stop()
	if n := sum(t, mine, 1); n > 120 {
		t.Errorf("a retired version went on to %d", n)
	}
	only := several(t, mine, b, totals(2, nil))
	if v, err := only.Live(t.Context(), "totals"); err != nil || v != 2 {
		t.Errorf("after a restart version %d is live, error %v", v, err)
	}
	if g, err := only.Progress(t.Context(), "totals"); err != nil || len(g) != 1 || g[0].Done != 120 || g[0].Version != 2 {
		t.Errorf("progress %+v, error %v", g, err)
	}
}

func TestSideEffectsAreOnceOverVersionsAndRebuilds(t *testing.T) {
	b, mine, theirs := membus.New(), withTotals(t), fresh(t)
	defer background(t, outbox.NewRelay("order", theirs, b, nil).Run)()
	effect := func(ctx context.Context, tx sqldb.Tx) error {
		past, err := projection.Past(ctx, tx)
		if err != nil || past {
			return err
		}
		cause := event.MetaFrom(ctx).Causation // the event's id
		id, err := event.ParseID(cause)
		if err != nil {
			return err
		}
		_, err = outbox.Add(ctx, tx, event.Stream{Category: "notice", ID: cause}, event.Record{
			ID: event.DeriveID("notice/"+id.String(), 1), Type: "notice.sent", Schema: 1, Data: []byte(`{}`)})
		return err
	}
	notices := func() (n int) {
		if err := mine.QueryRowContext(t.Context(), `SELECT count(*) FROM es_event`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	var token event.Token
	run := func(r *projection.Runner, more int) {
		t.Helper()
		stop := background(t, r.Run)
		defer stop()
		token = place(t, theirs, more)
		if err := r.Wait(t.Context(), "totals", token); err != nil {
			t.Fatal(err)
		}
	}
	run(several(t, mine, b, totals(1, effect)), 50)
	run(several(t, mine, b, totals(2, effect)), 50)                    // the old one has ended
	run(several(t, mine, b, totals(2, effect), totals(3, effect)), 50) // side by side
	r := several(t, mine, b, totals(3, effect))
	stop := background(t, r.Run)
	for _, err := range r.Rebuild(t.Context(), "totals") {
		if err != nil {
			t.Fatal(err)
		}
	}
	stop()
	run(r, 50)
	if n := notices(); n != 200 {
		t.Errorf("%d notices, want 200", n)
	}
	if n := sum(t, mine, 3); n != 200 {
		t.Errorf("%d in the view, want 200", n)
	}
}

func TestARebuildShowsItsProgress(t *testing.T) {
	b, mine, theirs := membus.New(), withTotals(t), fresh(t)
	var slow atomic.Bool
	p := totals(0, func(ctx context.Context, _ sqldb.Tx) error {
		if slow.Load() {
			time.Sleep(time.Millisecond)
		}
		return nil
	})
	r := several(t, mine, b, p)
	defer background(t, outbox.NewRelay("order", theirs, b, nil).Run, r.Run)()
	const n = 1500
	if err := r.Wait(t.Context(), "totals", place(t, theirs, n)); err != nil {
		t.Fatal(err)
	}
	slow.Store(true)
	begin := time.Now()
	var guesses []time.Duration // when it would be done, as said on the way
	var last projection.Progress
	for g, err := range r.Rebuild(t.Context(), "totals") {
		if err != nil {
			t.Fatal(err)
		}
		if g.Done < last.Done || g.Head != n {
			t.Errorf("progress went from %+v to %+v", last, g)
		}
		if last = g; g.Done > n/10 && g.Done < g.Head {
			guesses = append(guesses, time.Since(begin)+g.ETA)
		}
	}
	took := time.Since(begin)
	if last.Done != n || sum(t, mine, 0) != n {
		t.Errorf("it ended at %d of %d with %d in the view", last.Done, n, sum(t, mine, 0))
	}
	if len(guesses) < 3 {
		t.Fatalf("progress was shown %d times in %v", len(guesses), took)
	}
	t.Logf("took %v, guesses %v", took, guesses)
	if guess := guesses[len(guesses)/2]; guess < took/2 || guess > 2*took {
		t.Errorf("in the middle it said that it would take %v, and it took %v", guess, took)
	}
	p.Reset = nil
	for _, err := range several(t, mine, b, p).Rebuild(t.Context(), "totals") {
		if err == nil {
			t.Error("a projection without Reset was rebuilt")
		}
	}
}

func TestAParkedStreamOfAViewIsListedAndRetried(t *testing.T) {
	b, mine, theirs := membus.New(), fresh(t), fresh(t)
	var broken atomic.Bool
	broken.Store(true)
	p := view(func() bool { return false })
	apply := p.Apply
	p.Apply = func(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
		if m.Stream.ID == "bad" && broken.Load() {
			return errFail
		}
		return apply(ctx, tx, m)
	}
	p.OnError = bus.Policy{Park: true, Tries: 2, Backoff: time.Millisecond}
	p.Lanes = 3
	r := several(t, mine, b, p)
	defer background(t, outbox.NewRelay("order", theirs, b, nil).Run, r.Run)()
	bad, good := event.Stream{Category: "order", ID: "bad"}, event.Stream{Category: "order", ID: "good"}
	var token event.Token
	for range 10 {
		record[orderEvent](t, "order", theirs, orders, bad, placed{1})
		token = record[orderEvent](t, "order", theirs, orders, good, placed{1})
	}
	if err := r.Wait(t.Context(), "history", token); err != nil {
		t.Fatal(err)
	}
	if total(t, mine, "good") != 10 || total(t, mine, "bad") != 0 {
		t.Errorf("good %d, bad %d", total(t, mine, "good"), total(t, mine, "bad"))
	}
	until(t, mine, "all are kept", func() bool {
		list, err := r.Parked(t.Context(), "history")
		return err == nil && len(list) == 1 && list[0].Stream == bad && list[0].Source == "order" && list[0].Kept == 10
	})
	if err := r.Retry(t.Context(), "history", bad); !errors.Is(err, errFail) {
		t.Errorf("retry while it is broken: %v", err)
	}
	if err := r.Retry(t.Context(), "history", good); !errors.Is(err, bus.ErrNotParked) {
		t.Errorf("retry of a stream that is not parked: %v", err)
	}
	broken.Store(false)
	if err := r.Retry(t.Context(), "history", bad); err != nil {
		t.Fatal(err)
	}
	if total(t, mine, "bad") != 10 {
		t.Errorf("bad is %d", total(t, mine, "bad"))
	}
}

func TestAnInlineViewIsPartOfTheAppend(t *testing.T) {
	db := withTotals(t)
	var fail atomic.Bool
	st, err := projection.Inline(db, "order", sqlstore.New(db), totals(0, func(context.Context, sqldb.Tx) error {
		if fail.Load() {
			return errFail
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	add := func(in eventsource.Store, id string, ids ...event.ID) error {
		var recs []event.Record
		for _, i := range ids {
			r, err := orders.Encode(placed{1})
			if err != nil {
				t.Fatal(err)
			}
			r.ID = i
			recs = append(recs, r)
		}
		_, err := in.Append(t.Context(), event.Stream{Category: "order", ID: id}, eventsource.Any, recs...)
		return err
	}
	a, c := event.NewID(), event.NewID()
	if err := errors.Join(add(st, "1", a, c), add(st, "1", a, c)); err != nil { // the second is a repetition
		t.Fatal(err)
	}
	if sum(t, db, 0) != 2 {
		t.Errorf("the view says %d", sum(t, db, 0))
	}
	fail.Store(true)
	if err := add(st, "1", event.NewID()); !errors.Is(err, errFail) {
		t.Errorf("got %v", err)
	}
	fail.Store(false)
	if head, _ := st.Head(t.Context()); head != 2 {
		t.Errorf("an append whose view fails left its event: the table ends at %d", head)
	}
	err = db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		if err := add(st.In(tx), "2", event.NewID()); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRowContext(ctx, `SELECT sum(total) FROM totals_0`).Scan(&n); err != nil || n != 3 {
			t.Errorf("within the transaction the view says %d, error %v", n, err)
		}
		return errFail
	})
	if !errors.Is(err, errFail) || sum(t, db, 0) != 2 {
		t.Errorf("error %v, the view says %d", err, sum(t, db, 0))
	}
	if err := st.Build(t.Context()); err != nil || sum(t, db, 0) != 2 {
		t.Errorf("build: %v, the view says %d", err, sum(t, db, 0))
	}
	if _, err := projection.Inline(db, "order", sqlstore.New(db), view(never)); err == nil {
		t.Error("a view of other services' events cannot be inline")
	}
}

func TestAViewInMemoryFollows(t *testing.T) {
	b, theirs := membus.New(), fresh(t)
	defer background(t, outbox.NewRelay("order", theirs, b, nil).Run)()
	token := place(t, theirs, 20)
	n, tries := 0, 0
	v := projection.Memory{Bus: b, Sources: []string{"order"}, Logger: quiet, Apply: func(_ context.Context, m bus.Message) error {
		if m.Position == 5 && tries < 3 {
			tries++
			return bus.ErrNotYet
		}
		n++
		return nil
	}}
	defer background(t, v.Run)()
	for i := range 3 {
		if i > 0 {
			token = place(t, theirs, 5)
		}
		if err := v.Wait(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		v.Read(func() {
			if n != 20+5*i {
				t.Errorf("the view has %d, want %d", n, 20+5*i)
			}
		})
	}
	epoch, err := sqlstore.New(theirs).Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := v.Wait(ctx, token.With("order", epoch, 1000)); !errors.Is(err, bus.ErrNotYet) {
		t.Errorf("got %v", err)
	}
}
