package saga_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cleave-go/cleave/saga"
)

// T31, and the resumption of everything else: the system is stopped wherever
// it is, again and again, and goes on from its files without any new saga.
func TestTrapT31SagasGoOnAfterCrashesWithoutAnyNewOne(t *testing.T) {
	const orders = 60
	dir := t.TempDir()
	create := newCreate(20*time.Second, saga.Policy{Resend: 500 * time.Millisecond})
	s := open(t, dir, nil, create, random(12)).start()
	for i := range orders {
		s.place(fmt.Sprint(i))
	}
	crashes := 0
	for deadline := time.Now().Add(patience); ; crashes++ {
		pause := time.Duration(5+rand.IntN(60)+4*crashes) * time.Millisecond // ever longer, or a slow machine gets nowhere
		if s.within(pause, "", func() bool { return s.running() == 0 }) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d sagas under way after %d crashes", s.running(), crashes)
		}
		s.stop()
		s = open(t, dir, nil, create, random(12)).start()
	}
	defer s.stop()
	approved, rejected := s.balance(orders)
	t.Logf("%d crashes, %d approved, %d rejected", crashes, approved, rejected)
	if crashes < 5 {
		t.Errorf("only %d crashes", crashes)
	}
}

func TestBooksBalanceAfter200ConcurrentSagasWithFaults(t *testing.T) {
	faults := random(20)
	slow := func(command, order string) error {
		if rand.IntN(100) == 0 {
			time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond) // holds up everybody behind it
		}
		return faults(command, order)
	}
	s := open(t, t.TempDir(), nil, newCreate(time.Second, saga.Policy{Resend: 100 * time.Millisecond}), slow).start()
	defer s.stop()
	var away sync.WaitGroup
	away.Go(func() {
		time.Sleep(50 * time.Millisecond)
		s.stops["accounting"]()
		time.Sleep(1200 * time.Millisecond) // longer than the timeout
		s.start("accounting")
	})
	checkLoad(t, s, 200)
	away.Wait()
}

// checkLoad places orders from 20 callers at a time and waits for all to end.
func checkLoad(t *testing.T, s *shop, orders int) {
	t.Helper()
	start := time.Now()
	var wg sync.WaitGroup
	for c := range 20 {
		wg.Go(func() {
			for i := c; i < orders; i += 20 {
				s.place(fmt.Sprint(i))
			}
		})
	}
	wg.Wait()
	s.until("all sagas ended", func() bool { return s.running() == 0 })
	approved, rejected := s.balance(orders)
	t.Logf("%d approved, %d rejected (%d by timeout), %.0f sagas/s", approved, rejected,
		s.count("order", "SELECT count(*) FROM orders WHERE reason = 'TIMEOUT'"), float64(orders)/time.Since(start).Seconds())
	if approved == 0 || rejected == 0 {
		t.Error("one-sided: the faults had no effect")
	}
}

// A rolling replacement: two processes of every service share its file.
func TestTwoProcessesOfEachServiceShareTheWork(t *testing.T) {
	dir := t.TempDir()
	create := newCreate(10*time.Second, saga.Policy{Resend: 300 * time.Millisecond})
	a := open(t, dir, nil, create, random(20)).start()
	b := open(t, dir, a.bus, create, random(20)).start()
	var stopped sync.Once
	defer a.stop()
	defer stopped.Do(b.stop)
	for i := range 100 {
		a.place(fmt.Sprint(i))
		if i == 60 {
			stopped.Do(b.stop)
		}
	}
	a.until("all sagas ended", func() bool { return a.running() == 0 })
	a.balance(100)
}
