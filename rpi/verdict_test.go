package rpi_test

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

func TestACallThatNobodyAcceptsInTimeIsTriedElsewhere(t *testing.T) {
	t.Parallel()
	there := &answering{name: "there"}
	good, silent := serve(t, there).Listener.Addr().String(), "127.0.0.1:9"
	client, _ := remote(t, at(silent, good), &rpi.RemoteOptions{HTTP: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			d := net.Dialer{}
			if addr == silent {
				d.Timeout = time.Nanosecond
			}
			return d.DialContext(ctx, network, addr)
		},
	}})
	for range 10 {
		if res, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); err != nil || res.GetText() != "there" {
			t.Fatalf("got %v, %v, want the answer of the instance that is there", res, err)
		}
	}
}

// failing lets the first request of each procedure fail with err, as net/http
// does now and then: the deadline of one call may close the connection that
// the next has just been given.
type failing struct {
	err    error
	failed map[string]*atomic.Bool
}

func (f failing) RoundTrip(r *http.Request) (*http.Response, error) {
	if !f.failed[r.URL.Path].Swap(true) {
		return nil, f.err
	}
	return http.DefaultTransport.RoundTrip(r)
}

func TestTheEndOfAnotherCallIsAConnectionThatBroke(t *testing.T) {
	t.Parallel()
	for _, ended := range []error{context.Canceled, context.DeadlineExceeded} {
		t.Run(ended.Error(), func(t *testing.T) {
			there := &answering{name: "there"}
			client, _ := remote(t, at(serve(t, there).Listener.Addr().String()), &rpi.RemoteOptions{HTTP: failing{ended, map[string]*atomic.Bool{
				echoapi.EchoServiceEchoProcedure: {}, echoapi.EchoServiceLookProcedure: {},
			}}})
			if _, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); connect.CodeOf(err) != connect.CodeUnavailable {
				t.Errorf("a call that a server may have seen: got %v, want unavailable", err)
			}
			if _, err := client.Look(t.Context(), &echoapi.EchoRequest{}); err != nil {
				t.Errorf("a call without side effects: got %v, want the answer of a second try", err)
			}
		})
	}
}
