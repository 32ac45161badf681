package saga_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/saga"
	"github.com/cleave-go/cleave/sqldb"
)

func TestASagaOfSixStepsIsQuick(t *testing.T) {
	s := open(t, t.TempDir(), nil, newCreate(time.Minute, saga.Policy{}), calm).start()
	defer s.stop()
	quick(t, s, 20)
}

// quick runs n sagas one behind the other.
func quick(t *testing.T, s *shop, n int) {
	t.Helper()
	s.place("warm-up")
	s.until("warm-up", func() bool { return s.order("warm-up") == "approved" })
	start := time.Now()
	for i := range n {
		id := fmt.Sprint(i)
		s.place(id)
		s.until(id, func() bool { return s.order(id) == "approved" })
	}
	each := time.Since(start) / time.Duration(n)
	t.Logf("%v from the order to its approval, over 4 services", each)
	if each > time.Second {
		t.Errorf("%v is not quick", each)
	}
	s.balance(n + 1)
}

func TestARefusalAtEachStepLeavesNothingBehind(t *testing.T) {
	for _, command := range []string{validate.Command, createTicket.Command, authorize.Command} {
		t.Run(command, func(t *testing.T) {
			s := open(t, t.TempDir(), nil, newCreate(time.Minute, saga.Policy{}), func(c, _ string) error {
				if c == command {
					return saga.Refuse("CARD_EXPIRED", "in May")
				}
				return nil
			}).start()
			defer s.stop()
			s.place("o")
			s.until("rejected", func() bool { return s.running() == 0 })
			if got := s.order("o"); got != "rejected/CARD_EXPIRED" {
				t.Errorf("the order is %s", got)
			}
			if st := s.status("o"); st.State != saga.RolledBack || st.Failure.Message != "in May" {
				t.Errorf("the saga is %+v", st)
			}
			s.balance(1)
		})
	}
}

func TestWhatAPartnerMissesIsAskedAgainUntilItIsThere(t *testing.T) {
	var asked atomic.Int32
	s := open(t, t.TempDir(), nil, newCreate(time.Minute, saga.Policy{}), func(c, _ string) error {
		if c == createTicket.Command && asked.Add(1) <= 3 {
			return saga.ErrNotYet
		}
		return nil
	}).start()
	defer s.stop()
	s.place("o")
	s.until("approved", func() bool { return s.order("o") == "approved" })
	if n := asked.Load(); n != 4 {
		t.Errorf("asked %d times, want 4", n)
	}
	s.balance(1)
}

func TestASilentParticipantDelaysNobodyBeyondTheTimeout(t *testing.T) {
	s := open(t, t.TempDir(), nil, newCreate(300*time.Millisecond, saga.Policy{}), calm).start("order", "consumer", "kitchen")
	defer s.stop()
	s.place("o")
	s.until("rejected while accounting is down", func() bool { return s.order("o") == "rejected/TIMEOUT" })
	if st := s.status("o"); st.State != saga.Compensating {
		t.Errorf("the saga is %s: it has to wait for accounting", st.State)
	}
	s.start("accounting") // authorizes, then reverses
	s.until("rolled back", func() bool { return s.running() == 0 })
	s.balance(1)
}

func TestTheSameKeyIsOneSaga(t *testing.T) {
	s := open(t, t.TempDir(), nil, newCreate(time.Minute, saga.Policy{}), calm).start()
	defer s.stop()
	s.place("o")
	first := s.status("o").ID
	var again event.ID
	err := s.db["order"].Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) (err error) {
		again, err = s.create.Start(ctx, tx, "o", order{ID: "other"})
		return err
	})
	if err != nil || again != first {
		t.Errorf("got %v, %v, want %v", again, err, first)
	}
	s.until("approved", func() bool { return s.order("o") == "approved" })
	s.balance(1)
}

func TestFindTellsThatThereIsNoSaga(t *testing.T) {
	s := open(t, t.TempDir(), nil, newCreate(time.Minute, saga.Policy{}), calm)
	defer s.stop()
	if _, err := s.create.Find(t.Context(), s.db["order"], "nobody"); !errors.Is(err, saga.ErrUnknown) {
		t.Errorf("got %v", err)
	}
}

// T29.
func TestTrapT29AnUndoThatFailsIsListedTriedOnAndCanBeResumed(t *testing.T) {
	var failures atomic.Int32
	failures.Store(20)
	s := open(t, t.TempDir(), nil, newCreate(time.Minute, saga.Policy{Backoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond, StuckAfter: 3}),
		func(c, _ string) error {
			switch {
			case c == authorize.Command:
				return saga.Refuse("CARD_LIMIT", "too much")
			case c == cancelTicket.Command && failures.Add(-1) >= 0:
				return errors.New("not implemented")
			}
			return nil
		}).start()
	defer s.stop()
	s.place("o")
	var stuck []saga.Status
	s.until("listed as stuck", func() bool {
		var err error
		if stuck, err = s.orch.Stuck(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(stuck) == 1
	})
	if st := stuck[0]; st.Key != "o" || st.Step != "ticket" || st.State != saga.Compensating || st.Error == "" {
		t.Errorf("listed as %+v", st)
	}
	if err := s.orch.Resume(t.Context(), stuck[0].ID); err != nil {
		t.Error(err)
	}
	s.until("rolled back", func() bool { return s.running() == 0 })
	if got := s.order("o"); got != "rejected/CARD_LIMIT" {
		t.Errorf("the order is %s", got)
	}
	s.balance(1)
	if stuck, err := s.orch.Stuck(t.Context()); err != nil || len(stuck) != 0 {
		t.Errorf("still listed: %v, %v", stuck, err)
	}
	if err := s.orch.Resume(t.Context(), event.NewID()); !errors.Is(err, saga.ErrUnknown) {
		t.Errorf("resume of no saga: %v", err)
	}
}

// T30: sagas whose local step always fails live from their timers.
func TestTrapT30BadTimersStarveNoGoodOne(t *testing.T) {
	var good atomic.Bool
	def := saga.Define("timed",
		saga.Call("hello", validate, func(o *order) ref { return ref{o.ID} }, nil).ReadOnly(),
		saga.Local("act", func(_ context.Context, _ sqldb.Tx, o *order) error {
			if o.ID == "good" && good.Load() {
				return nil
			}
			return errors.New("no")
		}))
	s := open(t, t.TempDir(), nil, newCreate(time.Minute, saga.Policy{}), calm).start("consumer")
	defer s.stop()
	s.orchestrate(def)
	for i := range 200 {
		s.begin(def, fmt.Sprint(i))
	}
	s.begin(def, "good")
	s.until("all fail", func() bool {
		return s.count("order", "SELECT count(*) FROM saga_instance WHERE error <> ''") == 201
	})
	good.Store(true)
	begun := time.Now()
	s.until("the good one ends", func() bool { return s.running() == 200 })
	t.Logf("the good timer fired after %v among 200 failing ones", time.Since(begun))
}

// T28: every reply comes three times, the copies late and in any order.
func TestTrapT28RepeatedAndLateRepliesChangeNothing(t *testing.T) {
	s := open(t, t.TempDir(), nil, newCreate(10*time.Second, saga.Policy{Resend: 50 * time.Millisecond}), random(15)).start()
	defer s.stop()
	ctx, cancel := context.WithCancel(t.Context())
	var copiers sync.WaitGroup
	defer copiers.Wait()
	defer cancel()
	for _, name := range services[1:] {
		copiers.Go(func() { s.copyReplies(ctx, name) })
	}
	for i := range 50 {
		s.place(fmt.Sprint(i))
	}
	s.until("all sagas ended", func() bool { return s.running() == 0 })
	s.balance(50)
}

// copyReplies records two copies of each of a participant's replies, later.
func (s *shop) copyReplies(ctx context.Context, name string) {
	var copies sync.WaitGroup
	defer copies.Wait()
	for m, err := range s.bus.Subscribe(ctx, bus.Filter{Source: name, Subjects: []string{"rpl.order.>"}}, bus.Place{}) {
		if err != nil {
			s.t.Error(err)
			return
		}
		if m.Meta.Ext["copy"] != "" {
			continue
		}
		for range 2 {
			copies.Go(func() {
				time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
				r := event.Record{ID: event.NewID(), Type: m.Type, Schema: m.Schema, Data: m.Data, Meta: m.Meta}
				r.Meta.Ext = map[string]string{"copy": "yes"}
				s.db[name].Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
					_, err := outbox.Add(ctx, tx, m.Stream, r)
					return err
				})
			})
		}
	}
}

func TestACommandThatThisVersionDoesNotKnowWaitsForOneThatDoes(t *testing.T) {
	s := open(t, t.TempDir(), nil, newCreate(time.Minute, saga.Policy{}), calm).start("order", "consumer", "accounting")
	defer s.stop()
	old, err := saga.NewParticipant("kitchen", s.db["kitchen"], s.bus, []string{"order"}, &saga.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	stop := s.background(old.Run, outbox.NewRelay("kitchen", s.db["kitchen"], s.bus, nil).Run)
	s.place("o")
	s.until("put off", func() bool { st := s.status("o"); return st.Step == "ticket" && st.Error != "" })
	stop()
	s.start("kitchen")
	s.until("approved", func() bool { return s.order("o") == "approved" })
	s.balance(1)
}

func TestACommandThatDoesNotFitIsRefused(t *testing.T) {
	wrong := saga.Endpoint[int, none]{Service: "consumer", Command: validate.Command}
	def := saga.Define("wrong", saga.Call("a", wrong, func(*order) int { return 5 }, nil))
	s := open(t, t.TempDir(), nil, newCreate(time.Minute, saga.Policy{}), calm).start("consumer")
	defer s.stop()
	s.orchestrate(def)
	s.begin(def, "o")
	s.until("ended", func() bool { return s.running() == 0 })
	if st, err := def.Find(t.Context(), s.db["order"], "o"); err != nil || st.Failure.Code != saga.CodeMalformed {
		t.Errorf("got %+v, %v", st, err)
	}
}

func TestWhoAskedTravelsThroughTheSaga(t *testing.T) {
	var mu sync.Mutex
	var got []event.Meta
	note := func(ctx context.Context) {
		mu.Lock()
		defer mu.Unlock()
		m := event.MetaFrom(ctx)
		m.Causation = ""
		got = append(got, m)
	}
	hello := saga.Endpoint[ref, none]{Service: "kitchen", Command: "hello"}
	def := saga.Define("hello", saga.Call("a", hello, orderRef, nil).ReadOnly(), saga.Local("b", func(ctx context.Context, _ sqldb.Tx, _ *order) error {
		note(ctx)
		return nil
	}))
	s := open(t, t.TempDir(), nil, newCreate(time.Minute, saga.Policy{}), calm)
	defer s.stop()
	s.orchestrate(def)
	p, err := saga.NewParticipant("kitchen", s.db["kitchen"], s.bus, []string{"order"}, nil,
		saga.Handle(hello, func(ctx context.Context, _ sqldb.Tx, _ ref) (none, error) { note(ctx); return none{}, nil }))
	if err != nil {
		t.Fatal(err)
	}
	s.stops["kitchen"] = s.background(p.Run, outbox.NewRelay("kitchen", s.db["kitchen"], s.bus, nil).Run)
	want := event.Meta{Correlation: "request-1", Actor: "ann", TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	s.beginAs(want, def, "o")
	s.until("ended", func() bool { return s.running() == 0 })
	if len(got) != 2 || !reflect.DeepEqual(got[0], want) || !reflect.DeepEqual(got[1], want) {
		t.Errorf("got %+v, want twice %+v", got, want)
	}
}

func TestAStuckSagaIsListedAndUndone(t *testing.T) {
	var silent atomic.Bool
	silent.Store(true)
	s := open(t, t.TempDir(), nil, newCreate(time.Minute, saga.Policy{Backoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond, StuckAfter: 3}),
		func(c, _ string) error {
			if c == createTicket.Command && silent.Load() {
				return saga.ErrNotYet
			}
			return nil
		}).start()
	defer s.stop()
	s.place("o")
	var stuck []saga.Status
	s.until("listed as stuck", func() bool {
		var err error
		if stuck, err = s.orch.Stuck(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(stuck) == 1
	})
	if list, err := s.orch.List(t.Context(), false); err != nil || len(list) != 1 || list[0].ID != stuck[0].ID {
		t.Errorf("under way: %+v, %v", list, err)
	}
	id := stuck[0].ID
	if err := s.orch.Undo(t.Context(), id, "the kitchen is closed"); err != nil {
		t.Fatal(err)
	}
	silent.Store(false)
	s.until("rolled back", func() bool { return s.running() == 0 })
	if got := s.order("o"); got != "rejected/"+saga.GivenUpCode {
		t.Errorf("the order is %s", got)
	}
	s.balance(1)
	st, data, err := s.orch.Show(t.Context(), id)
	if err != nil || st.State != saga.RolledBack || st.Failure.Message != "the kitchen is closed" || len(data) == 0 {
		t.Errorf("shown as %+v with %s, %v", st, data, err)
	}
	if err := s.orch.Undo(t.Context(), id, ""); !errors.Is(err, saga.ErrPastPivot) {
		t.Errorf("undo of what has ended: %v", err)
	}
	if err := s.orch.Undo(t.Context(), event.NewID(), ""); !errors.Is(err, saga.ErrUnknown) {
		t.Errorf("undo of no saga: %v", err)
	}
	if list, err := s.orch.List(t.Context(), true); err != nil || len(list) != 1 {
		t.Errorf("ended: %+v, %v", list, err)
	}
}
