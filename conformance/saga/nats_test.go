package saga_test

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus/natsbus"
	"github.com/cleave-go/cleave/platform/messaging"
	"github.com/cleave-go/cleave/saga"
)

// broker runs an embedded broker; restart ends it and starts it again at the
// same address on the same folder.
func broker(t *testing.T) (address string, restart func()) {
	t.Helper()
	dir, listen := t.TempDir(), "127.0.0.1:0"
	run := func() (string, func()) {
		ctx, cancel := context.WithCancel(context.Background())
		ready, done := make(chan string, 1), make(chan error, 1)
		go func() {
			done <- messaging.Run(ctx, messaging.Options{Dir: dir, Listen: listen, Logger: quiet, Ready: func(u string) { ready <- u }})
		}()
		select {
		case u := <-ready:
			return u, func() { cancel(); <-done }
		case err := <-done:
			t.Fatal(err)
			return "", cancel
		}
	}
	address, stop := run()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	listen = u.Host
	t.Cleanup(func() { stop() })
	return address, func() { stop(); _, stop = run() }
}

func connect(t *testing.T, address string) *natsbus.Bus {
	t.Helper()
	b, err := natsbus.Connect(t.Context(), address, &natsbus.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestOverNATSASagaOfSixStepsIsQuick(t *testing.T) {
	address, _ := broker(t)
	s := open(t, t.TempDir(), connect(t, address), newCreate(time.Minute, saga.Policy{}), calm).start()
	defer s.stop()
	quick(t, s, 20)
}

func TestOverNATSBooksBalanceAfterBrokerRestartsAndCrashes(t *testing.T) {
	address, restart := broker(t)
	dir := t.TempDir()
	create := newCreate(10*time.Second, saga.Policy{Resend: 500 * time.Millisecond})
	s := open(t, dir, connect(t, address), create, random(20)).start()
	const orders = 100
	for i := range orders {
		s.place(fmt.Sprint(i))
		switch i {
		case 30, 70:
			restart()
		case 50:
			s.stop()
			s = open(t, dir, connect(t, address), create, random(20)).start()
		}
	}
	defer func() { s.stop() }()
	s.until("all sagas ended", func() bool { return s.running() == 0 })
	approved, rejected := s.balance(orders)
	t.Logf("%d approved, %d rejected", approved, rejected)
}
