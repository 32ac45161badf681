package saga_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/saga"
)

// status returns how the saga of an order stands.
func (s *shop) status(id string) saga.Status {
	s.t.Helper()
	st, err := s.create.Find(context.Background(), s.db["order"], id)
	if err != nil {
		s.t.Fatal(err)
	}
	return st
}

// order returns an order's state, with the reason behind a slash if there is one.
func (s *shop) order(id string) string {
	s.t.Helper()
	var state, reason string
	if err := s.db["order"].QueryRowContext(context.Background(), "SELECT state, reason FROM orders WHERE id = ?", id).Scan(&state, &reason); err != nil {
		s.t.Fatal(err)
	}
	if reason != "" {
		state += "/" + reason
	}
	return state
}

func (s *shop) count(service, query string) (n int) {
	s.t.Helper()
	if err := s.db[service].QueryRowContext(context.Background(), query).Scan(&n); err != nil {
		s.t.Fatal(err)
	}
	return n
}

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// until waits for ok to become true, looking at each commit of order.
func (s *shop) until(what string, ok func() bool) {
	s.t.Helper()
	s.within(patience, what, ok)
}

func (s *shop) within(d time.Duration, what string, ok func() bool) bool {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	var seen uint64
	for !ok() {
		var err error
		if seen, err = s.db["order"].AwaitCommit(ctx, seen); err != nil {
			if d == patience {
				s.t.Fatalf("not within %v: %s", d, what)
			}
			return false
		}
	}
	return true
}

func (s *shop) running() int {
	return s.count("order", "SELECT count(*) FROM saga_instance WHERE state NOT IN ('completed', 'rolled-back')")
}

// balance checks that each order is approved with all that belongs to it, or
// rejected with nothing left.
func (s *shop) balance(orders int) (approved, rejected int) {
	s.t.Helper()
	set := func(service, query string) map[string]string {
		rows, err := s.db[service].QueryContext(context.Background(), query)
		if err != nil {
			s.t.Fatal(err)
		}
		defer rows.Close()
		m := map[string]string{}
		for rows.Next() {
			var k, v string
			if err := rows.Scan(&k, &v); err != nil {
				s.t.Fatal(err)
			}
			m[k] = v
		}
		return m
	}
	tickets, holds := set("kitchen", "SELECT id, state FROM tickets"), set("accounting", "SELECT id, times FROM holds")
	all := set("order", "SELECT id, state FROM orders")
	if len(all) != orders {
		s.t.Errorf("%d orders, want %d", len(all), orders)
	}
	for id, state := range all {
		got := state + " ticket:" + tickets[id] + " holds:" + holds[id]
		switch got {
		case "approved ticket:confirmed holds:1":
			approved++
		case "rejected ticket: holds:":
			rejected++
		default:
			s.t.Errorf("order %s: %s (saga %+v)", id, got, s.status(id))
		}
	}
	return approved, rejected
}

// random fails attempts at random, each kind one time in n.
func random(n int) chaos {
	return func(command, _ string) error {
		undo := command == cancelTicket.Command || command == reverse.Command || command == confirm.Command
		switch rand.IntN(n) {
		case 0:
			return bus.ErrNotYet
		case 1:
			return errors.New("the disk is full")
		case 2:
			panic("a bug")
		case 3:
			if !undo {
				return saga.Refuse("NO_WAY", command)
			}
		}
		return nil
	}
}
