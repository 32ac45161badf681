package bus_test

import (
	"context"
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/bustest"
	"github.com/cleave-go/cleave/bus/natsbus"
	"github.com/cleave-go/cleave/platform/messaging"
)

// broker is an embedded broker that can be stopped and started again.
type broker struct {
	t    testing.TB
	dir  string
	addr string
	url  string
	stop func()
}

func newBroker(t testing.TB) *broker {
	b := &broker{t: t, dir: t.TempDir(), addr: "127.0.0.1:0"}
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

func (b *broker) start() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- messaging.Run(ctx, messaging.Options{
			Dir: b.dir, Listen: b.addr, Token: "a-token", Ready: func(u string) { ready <- u },
		})
	}()
	select {
	case b.url = <-ready:
	case err := <-done:
		b.t.Fatal(err)
	}
	u, err := url.Parse(b.url)
	if err != nil {
		b.t.Fatal(err)
	}
	b.addr = u.Host
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
		b.stop = func() {}
	}
}

func (b *broker) connect(o *natsbus.Options) *natsbus.Bus {
	b.t.Helper()
	c, err := natsbus.Connect(b.t.Context(), b.url, o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { c.Close() })
	return c
}

var quickly = &natsbus.Options{Check: 50 * time.Millisecond}

func TestBus(t *testing.T) {
	bustest.Run(t, func(t *testing.T) bus.Bus { return newBroker(t).connect(quickly) })
}

// quiet is for tests in which things go wrong on purpose.
var quiet = slog.New(slog.DiscardHandler)
