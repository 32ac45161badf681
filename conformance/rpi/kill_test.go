package rpi_test

import (
	"context"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/discovery/discoverytest"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

// pace calls f with 0, 1, ... at perSecond until ctx ends, and returns how often
// when all have returned.
func pace(ctx context.Context, perSecond int, f func(n int)) int {
	var running sync.WaitGroup
	defer running.Wait()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	begin, n := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return n
		case <-tick.C:
		}
		for due := int(time.Since(begin).Seconds() * float64(perSecond)); n < due; n++ {
			number := n
			running.Go(func() { f(number) })
		}
	}
}

// Nobody tells the caller: the address of the instance that was killed stays
// known.
func TestKillingOneOfThreeInstancesFailsNoIdempotentCall(t *testing.T) {
	t.Parallel()
	last := 3 * time.Second
	if os.Getenv("CLEAVE_LONG") != "" {
		last = 20 * time.Second
	}
	for _, name := range []string{"HTTP/1.1", "HTTP/2", "the fast wire"} {
		t.Run(name, func(t *testing.T) {
			var instances []*process
			var known []discovery.Instance
			meta := map[string]string{}
			if name == "the fast wire" {
				meta[discovery.MetaWire] = discovery.WireGRPC
			}
			for range 3 {
				p := start(t, "bare")
				instances, known = append(instances, p), append(known, discovery.Instance{Service: "echo", ID: p.addr, Addr: p.addr, Meta: meta})
			}
			resolver := &discoverytest.Resolver{}
			resolver.Set("echo", known...)
			client := remoteOf(t, resolver, &rpi.RemoteOptions{Conns: rpi.ConnOptions{HTTP2: name == "HTTP/2"}, Balancer: &discovery.BalancerOptions{DisableSlowStart: true}})
			ctx, stop := context.WithTimeout(t.Context(), last)
			defer stop()
			var idempotent, others atomic.Int64 // failed
			time.AfterFunc(last/2, func() { instances[1].kill(t) })
			calls := pace(ctx, 1000, func(n int) {
				r, failed := &echoapi.EchoRequest{Number: int64(n)}, &idempotent
				call := client.Look
				switch n % 4 {
				case 1:
					call = client.Store
				case 2:
					call, failed = client.Echo, &others
				}
				if res, err := call(context.Background(), r); err != nil || res.Number != int64(n) {
					failed.Add(1)
					if failed == &idempotent {
						t.Errorf("call %d: %v, %v", n, res, err)
					}
				}
			})
			t.Logf("%d calls over %s at 1000 a second, of 3 instances one killed: %d idempotent failed, %d others", calls, name, idempotent.Load(), others.Load())
			if calls < int(last.Seconds()*900) {
				t.Errorf("only %d calls were made", calls)
			}
		})
	}
}
