package rpi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/cleave-go/cleave/conformance/internal/registrytest"
	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

// None of the calls may be repeated once a server has begun with it: all is in
// the way a process stops, and in what its callers know.
func TestRollingRestartsFailNoRequest(t *testing.T) {
	t.Parallel()
	restarts, calls := 3, 3_000
	if os.Getenv("CLEAVE_LONG") != "" {
		restarts, calls = 20, 100_000
	}
	url := registrytest.Start(t)
	client, err := discovery.NewClient(url, "", &discovery.ClientOptions{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer func() { stop(); running.Wait() }()
	through := func(o *rpi.RemoteOptions) echoapi.EchoServiceClient {
		o.Logger = quiet
		transport := rpi.Remote("echo", client, o)
		running.Go(func() { transport.Run(ctx) }) // ends with ctx
		return echoapi.NewEchoServiceClient(connect.NewClient(transport))
	}
	plain := rpi.NewRoundTripper("echo", client, &rpi.RemoteOptions{Logger: quiet})
	running.Go(func() { plain.Run(ctx) })      // ends with ctx
	byDefault := through(&rpi.RemoteOptions{}) // the fast wire, which the instances announce
	overConnect := through(&rpi.RemoteOptions{Wire: []connecthttp.Option{}})
	overGRPC := through(&rpi.RemoteOptions{Conns: rpi.ConnOptions{HTTP2: true}, Wire: []connecthttp.Option{connecthttp.WithGRPC()}})
	call := func(c echoapi.EchoServiceClient) func() error {
		return func() error {
			_, err := c.Echo(context.Background(), &echoapi.EchoRequest{Text: "x"})
			return err
		}
	}
	kinds := []struct {
		name string
		call func() error
		made atomic.Int64
	}{
		{name: "fast wire", call: call(byDefault)},
		{name: "Connect", call: call(overConnect)},
		{name: "gRPC", call: call(overGRPC)},
		{name: "plain POST", call: func() error {
			res, err := (&http.Client{Transport: plain}).Post("http://echo"+echoapi.EchoServiceEchoProcedure, "application/json", strings.NewReader(`{"text":"x"}`))
			if err != nil {
				return err
			}
			defer res.Body.Close()
			if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
				return errors.Join(errors.New(res.Status), err)
			}
			return nil
		}},
	}
	instance := func(n int) *process {
		return start(t, "service", fmt.Sprintf("CLEAVE_INSTANCE=echo-%d", n), "CLEAVE_REGISTRY="+url, "CLEAVE_TOKEN="+registrytest.Token, "CLEAVE_DATA="+t.TempDir())
	}
	old := []*process{instance(0), instance(1)}
	var failed atomic.Int64
	var callers sync.WaitGroup
	loadCtx, endLoad := context.WithCancel(context.Background())
	for i := range kinds {
		for range 4 {
			callers.Go(func() {
				k := &kinds[i]
				for loadCtx.Err() == nil {
					k.made.Add(1)
					if err := k.call(); err != nil {
						failed.Add(1)
						t.Errorf("%s call %d: %v", k.name, k.made.Load(), err)
					}
					time.Sleep(time.Millisecond) // paces the load
				}
			})
		}
	}
	total := func() (n int64) {
		for i := range kinds {
			n += kinds[i].made.Load()
		}
		return n
	}
	var longest time.Duration
	for n := range restarts {
		next := instance(n + 2)
		longest = max(longest, old[0].stop(t))
		old = append(old[1:], next)
		for total() < int64(calls*(n+1)/restarts) && failed.Load() == 0 {
			time.Sleep(10 * time.Millisecond) // real processes, real time
		}
	}
	endLoad()
	callers.Wait()
	for _, p := range old {
		p.stop(t)
	}
	var made []string
	for i := range kinds {
		made = append(made, fmt.Sprint(kinds[i].made.Load(), " ", kinds[i].name))
	}
	t.Logf("%d restarts, %d requests (%s), %d failed, longest stop %v", restarts, total(), strings.Join(made, ", "), failed.Load(), longest)
}
