package acceptance_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestNoOrderIsLostWhenAPartIsKilled kills one part of the system after the
// other while orders are being placed. With CLEAVE_LONG it kills every part,
// several times each.
func TestNoOrderIsLostWhenAPartIsKilled(t *testing.T) {
	victims, orders, kills := []string{"order", "accounting", "broker"}, 64, 2
	if long() {
		victims = []string{"consumer", "restaurant", "order", "kitchen", "accounting", "delivery", "orderhistory", "webbff", "broker", "registry"}
		orders, kills = 200, 4
	}
	s := start(t, "services")
	crash(t, s, victims, orders, kills)
	if !long() {
		return
	}
	for _, participant := range []string{"consumer", "kitchen", "accounting"} {
		t.Run(participant+" stays away until sagas give up", func(t *testing.T) {
			r := newRush(t, s, orders)
			r.run(r.away(participant))
		})
	}
}

// TestNoOrderIsLostWhenTheMonolithIsKilled kills the one process of them all.
func TestNoOrderIsLostWhenTheMonolithIsKilled(t *testing.T) {
	orders, kills := 64, 2
	if long() {
		orders, kills = 200, 4
	}
	crash(t, start(t, "monolith"), []string{"order"}, orders, kills)
}

const (
	settleTime = 30 * time.Second // after the victim is back
	backTime   = 60 * time.Second // the victim's, on a busy machine
	shortTime  = 12 * time.Second // no saga gives up or asks again in that time
	placeTime  = 2 * time.Minute  // a client's, until it gives up repeating
)

func crash(t *testing.T, s *system, victims []string, orders, kills int) {
	t.Run("nobody is killed", func(t *testing.T) { newRush(t, s, orders).run(time.Now) })
	for _, victim := range victims {
		for n := range kills {
			t.Run(fmt.Sprintf("%s is killed %d", victim, n+1), func(t *testing.T) {
				r := newRush(t, s, orders)
				r.run(r.killing(victim))
			})
		}
	}
}

// rush is many orders placed at once, by several consumers who are as new as
// the restaurant.
type rush struct {
	town
	t        *testing.T
	books    *books
	orders   []*attempt
	repeats  atomic.Int64
	timedOut int
	long     bool // whether something was away for so long that sagas may give up or ask again
}

// attempt is an order as its client sees it.
type attempt struct {
	key, consumer string
	who           client
	quantity      int
	want          string // the reason of its rejection; empty: approved
	id            string // empty until the client has an answer
	answered      time.Time
	err           error
}

const price = 1234 // of the one dish that is ordered

func newRush(t *testing.T, s *system, n int) *rush {
	t.Helper()
	r := &rush{town: newTown(t, s), t: t, books: openBooks(t, s)}
	payers := []struct {
		card  string
		limit int
		want  string
	}{
		{"ok", 50_000, "CARD_LIMIT"}, {"expired", 0, "CARD_EXPIRED"}, {"ok", 50_000, "CARD_LIMIT"}, {"limit-3000", 3000, "CARD_LIMIT"},
		{"ok", 50_000, "CARD_LIMIT"}, {"", 0, "CARD_MISSING"}, {"ok", 50_000, "CARD_LIMIT"}, {"limit-3702", 3702, "CARD_LIMIT"},
	}
	for _, p := range payers {
		consumer, who := r.newConsumer(t, p.card)
		for i := range n / len(payers) {
			a := &attempt{key: fmt.Sprintf("crash-%d", i), consumer: consumer, who: who, quantity: i%4 + 1}
			if a.quantity*price > p.limit {
				a.want = p.want
			}
			r.orders = append(r.orders, a)
		}
	}
	return r
}

// run places the orders, calls disturb meanwhile, which returns when the system
// was whole again, and checks that everything is as if nothing had happened.
func (r *rush) run(disturb func() time.Time) {
	began := time.Now()
	var clients sync.WaitGroup
	for _, a := range r.orders {
		clients.Go(func() {
			a.id, a.err = r.place(a)
			a.answered = time.Now()
		})
	}
	back := disturb()
	clients.Wait()
	for _, a := range r.orders {
		if a.err != nil {
			r.t.Errorf("an order of %s was never answered: %v", a.consumer, a.err)
		}
	}
	if r.t.Failed() {
		r.t.FailNow()
	}
	answered := slices.MaxFunc(r.orders, func(a, b *attempt) int { return a.answered.Compare(b.answered) }).answered
	deadline := back.Add(settleTime)
	r.settle(deadline)
	last := r.books.settledAt(r.t)
	r.balance(deadline)
	r.check()
	if unasked := r.books.unasked(r.t); !r.long && r.timedOut+int(unasked) > 0 {
		r.t.Errorf("%d orders timed out and %d commands were sent again: messages were lost on the way, or late", r.timedOut, unasked)
	}
	r.t.Logf("%d orders, %d timed out: answered after %v with %d requests repeated, settled %v after the start, %v after the system was whole",
		len(r.orders), r.timedOut, answered.Sub(began).Round(time.Millisecond), r.repeats.Load(), last.Sub(began).Round(time.Millisecond), max(0, last.Sub(back)).Round(time.Millisecond))
}

// place repeats the request until it is answered.
func (r *rush) place(a *attempt) (string, error) {
	input := r.order(a.consumer, vars{"menuItemId": "vindaloo", "quantity": a.quantity})
	input["idempotencyKey"] = a.key
	for deadline := time.Now().Add(placeTime); ; r.repeats.Add(1) {
		res, err := a.who.try(placeOrder, vars{"input": input})
		id, _ := res.at("placeOrder.id").(string)
		switch {
		case err == nil && len(res.Errors) == 0 && id != "":
			return id, nil
		case err == nil && len(res.Errors) > 0 && !slices.Contains([]string{"UNAVAILABLE", "NOT_YET", "RATE_LIMITED"}, res.Errors[0].code()):
			return "", fmt.Errorf("refused: %v", res.Errors) // of an order that is right
		case time.Now().After(deadline):
			return "", fmt.Errorf("given up after %v: %v %v", placeTime, err, res.Errors)
		}
		pause(50 * time.Millisecond)
	}
}

// killing kills the process of victim, a service or a role, at a random point of
// the rush, and returns when another one was ready.
func (r *rush) killing(victim string) func() time.Time {
	r.t.Helper()
	pid := r.instances(r.t, victim)[0].PID
	point := rand.IntN(2*len(r.orders) - 1) // each order is placed and then settled
	return func() time.Time {
		var placed, settled int
		within(r.t, backTime, "orders are placed and settled", func() bool {
			placed, settled = r.books.progress(r.t, r.restaurant)
			return placed+settled >= point
		})
		killed := time.Now()
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			r.t.Fatal(err)
		}
		var now instance
		within(r.t, backTime, victim+" is back", func() bool {
			now = r.instances(r.t, victim)[0]
			return now.PID != pid && now.Phase == "ready"
		})
		r.long = now.Since.Sub(killed) > shortTime
		r.t.Logf("%s killed with %d of %d orders placed and %d of them settled; back after %v",
			victim, placed, len(r.orders), settled, now.Since.Sub(killed).Round(time.Millisecond))
		return now.Since
	}
}

// away takes a participant away until every order is settled without it: they
// are rejected because they time out, and what the participant finds when it is
// back is undone.
func (r *rush) away(participant string) func() time.Time {
	r.t.Helper()
	r.balance(time.Now().Add(settleTime)) // it knows the new consumers and their restaurant
	r.must(r.t, "scale", participant, "0")
	r.long = true
	return func() time.Time {
		within(r.t, time.Minute, "orders are settled without "+participant, func() bool {
			_, settled := r.books.progress(r.t, r.restaurant)
			return settled == len(r.orders)
		})
		r.must(r.t, "scale", participant, "1")
		return time.Now()
	}
}

// settle waits until every order is approved or rejected.
func (r *rush) settle(deadline time.Time) {
	r.t.Helper()
	pending := slices.Clone(r.orders)
	for {
		pending = slices.DeleteFunc(pending, func(a *attempt) bool {
			res, err := a.who.try(`query($id: ID!) { order(id: $id) { status } }`, vars{"id": a.id})
			return err == nil && (res.at("order.status") == "APPROVED" || res.at("order.status") == "REJECTED")
		})
		if len(pending) == 0 {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%d of %d orders are not settled, one is %s:\n%s", len(pending), len(r.orders), pending[0].id, r.books.saga(pending[0].id))
		}
		pause(100 * time.Millisecond)
	}
}

// balance waits until the services' books agree.
func (r *rush) balance(deadline time.Time) {
	r.t.Helper()
	for {
		wrong := r.books.audit()
		if len(wrong) == 0 {
			break
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("the books do not agree:\n%s", strings.Join(wrong, "\n"))
		}
		pause(200 * time.Millisecond)
	}
	if got, want := r.authorized(), r.books.approvedTotal(r.t); got != want {
		r.t.Errorf("%d is authorized, approved orders total %d", got, want)
	}
}
