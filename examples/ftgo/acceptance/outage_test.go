package acceptance_test

import (
	"bufio"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const getPayment = `query($id: ID!) { order(id: $id) { id status total { amount } ticket { status } payment { authorized { amount } } } }`

func TestAnOrderIsShownWithoutItsPaymentWhileAccountingIsAway(t *testing.T) {
	s := start(t, "services")
	w := newTown(t, s)
	id, _ := w.approved(t)
	whole := func() bool {
		a := w.asConsumer.ask(getPayment, vars{"id": id})
		return len(a.Errors) == 0 && a.at("order.payment.authorized.amount") == 2468.0
	}

	t.Run("no instance", func(t *testing.T) {
		s.must(t, "scale", "accounting", "0")
		took := withoutPayment(t, w, id, 20)
		t.Logf("answered after %v at first, %v in the end", took[0], took[len(took)-1])
		if state, refused := breakerOf(t, s, "accounting"); state == 0 || refused == 0 {
			t.Errorf("the breaker's state is %v after %v refusals", state, refused)
		}
		pending := w.asConsumer.ask(placeOrder, vars{"input": w.order(w.consumer)})
		if pending.ok(t, "placeOrder.status") != "APPROVAL_PENDING" {
			t.Errorf("got %v", pending.Data)
		}
		s.must(t, "scale", "accounting", "1")
		began := time.Now()
		within(t, 20*time.Second, "the payment is there again", whole)
		t.Logf("the payment is there again %v after the instance", time.Since(began).Round(time.Millisecond))
		within(t, 20*time.Second, "the breaker is closed", func() bool {
			again := whole() // each call is a probe
			state, _ := breakerOf(t, s, "accounting")
			return again && state == 0
		})
		within(t, 30*time.Second, "the order placed meanwhile is approved", func() bool {
			return w.asConsumer.must(getOrder, vars{"id": pending.at("placeOrder.id")}, "order.status") == "APPROVED"
		})
	})

	t.Run("an instance that hangs", func(t *testing.T) {
		pid := s.instances(t, "accounting")[0].PID
		if err := syscall.Kill(-pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		defer syscall.Kill(-pid, syscall.SIGCONT) // it may be gone
		took := withoutPayment(t, w, id, 20)
		t.Logf("answered after %v at first, %v in the end", took[0], took[len(took)-1])
		if err := syscall.Kill(-pid, syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		within(t, 20*time.Second, "the payment is there again", whole)
	})
}

// withoutPayment asks n times for an order whose payment is missing. The later answers have to be quick, but for a
// probe now and then: a breaker does not wait for a service that is known to be away.
func withoutPayment(t *testing.T, w town, id string, n int) (took []time.Duration) {
	t.Helper()
	for range n {
		began := time.Now()
		a := w.asConsumer.ask(getPayment, vars{"id": id})
		took = append(took, time.Since(began).Round(100*time.Microsecond))
		if a.Status != http.StatusOK || a.at("order.status") != "APPROVED" || a.at("order.ticket.status") == nil || a.at("order.payment") != nil {
			t.Fatalf("status %d, data %v, errors %v", a.Status, a.Data, a.Errors)
		}
		if got := a.code(t); got != "UNAVAILABLE" {
			t.Errorf("the code is %s, want UNAVAILABLE", got)
		}
		if path := a.Errors[0].Path; !reflect.DeepEqual(path, []any{"order", "payment"}) {
			t.Errorf("the path is %v", path)
		}
	}
	later := slices.Sorted(slices.Values(took[n/2:]))
	if median := quantile(later, 50); median > 250*time.Millisecond {
		t.Errorf("an answer took %v, the breaker is not open: %v", median, took)
	}
	return took
}

// breakerOf reads from the web BFF's measurements how it stands with a service: 0 is closed.
func breakerOf(t *testing.T, s *system, service string) (state, refused float64) {
	t.Helper()
	res, err := http.Get("http://" + s.instances(t, "webbff")[0].AdminAddress + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	found := 0
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), "} ")
		number, _ := strconv.ParseFloat(value, 64)
		switch {
		case !strings.Contains(name, `rpc_service="`+service+`"`):
		case strings.HasPrefix(name, "rpc_client_breaker_state{"):
			state, found = number, found+1
		case strings.HasPrefix(name, "rpc_client_breaker_refusals_total{"):
			refused, found = number, found+1
		}
	}
	if found != 2 {
		t.Fatalf("the web BFF shows %d measurements of the breaker of %s, want 2", found, service)
	}
	return state, refused
}

func TestTrafficGoesOnWithoutTheRegistry(t *testing.T) {
	s := start(t, "services")
	o := newOrders(t, newTown(t, s))
	l := startLoad(t, rate, o.call)
	pause(time.Second)

	l.enter("the registry is killed")
	if err := syscall.Kill(s.instances(t, "registry")[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	s.must(t, "scale", "registry", "0")
	if left := s.instances(t, "registry"); len(left) != 0 {
		t.Errorf("%+v runs", left)
	}
	if res, err := http.Get(s.registryURL); err == nil {
		res.Body.Close()
		t.Error("the registry answers")
	}
	down := shorter(30*time.Second, 8*time.Second)
	l.enter(fmt.Sprintf("the registry is down for %v", down))
	pause(down)

	l.enter("the registry is back")
	s.must(t, "scale", "registry", "1")
	pause(shorter(12*time.Second, 3*time.Second)) // longer than a lease lasts
	l.enter("a deployment with it")
	s.must(t, "restart", "order")
	l.stop()
	o.settled(t)
}
