package rpi_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

func TestFaults(t *testing.T) {
	gone := connect.NewError(connect.CodeUnavailable, "the connection broke")
	for _, tt := range []struct {
		name  string
		fault []rpi.Fault
		code  connect.Code // 0: an answer
		calls int64        // that the handler saw
		took  time.Duration
	}{
		{"none unless asked for", nil, 0, 1, 0},
		{"latency", []rpi.Fault{{Rate: 1, Latency: time.Second}}, 0, 1, time.Second},
		{"latency beyond the deadline", []rpi.Fault{{Rate: 1, Latency: time.Minute}}, connect.CodeDeadlineExceeded, 0, 5 * time.Second},
		{"an error in place of the call", []rpi.Fault{{Rate: 1, Err: gone}}, connect.CodeUnavailable, 0, 0},
		{"an error after a while", []rpi.Fault{{Rate: 1, Latency: time.Second, Err: gone}}, connect.CodeUnavailable, 0, time.Second},
		{"a lost answer", []rpi.Fault{{Rate: 1, After: true, Err: gone}}, connect.CodeUnavailable, 1, 0},
		{"a lost request and silence", []rpi.Fault{{Rate: 1, Drop: true}}, connect.CodeDeadlineExceeded, 0, 5 * time.Second},
		{"a lost answer and silence", []rpi.Fault{{Rate: 1, After: true, Drop: true}}, connect.CodeDeadlineExceeded, 1, 5 * time.Second},
		{"of another procedure", []rpi.Fault{{Match: func(s connect.Spec) bool { return s.Procedure == "/x" }, Rate: 1, Err: gone}}, 0, 1, 0},
		{"the first that fits", []rpi.Fault{{Match: func(connect.Spec) bool { return false }, Rate: 1, Drop: true}, {Rate: 1, Err: gone}, {Rate: 1, Drop: true}}, connect.CodeUnavailable, 0, 0},
	} {
		for _, side := range []string{"server", "client"} {
			t.Run(tt.name+", "+side, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var faults rpi.Faults
					so, lo := rpi.ServerOptions{Logger: quiet}, rpi.LocalOptions{}
					if side == "server" {
						so.Interceptors = []connect.ServerInterceptor{faults.Server}
					} else {
						lo.Call.Interceptors = []connect.ClientInterceptor{faults.Client}
					}
					s, handler := rpi.NewServer(&so), &answering{name: "here"}
					echoapi.RegisterEchoServiceHandler(s, handler)
					client := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(s, &lo)))
					if tt.fault != nil {
						if err := faults.Set(tt.fault...); err != nil {
							t.Fatal(err)
						}
					}
					ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					begin := time.Now()
					res, err := client.Echo(ctx, &echoapi.EchoRequest{})
					took := time.Since(begin)
					synctest.Wait()
					if tt.code == 0 && (err != nil || res.GetText() != "here") || tt.code != 0 && connect.CodeOf(err) != tt.code {
						t.Errorf("got %q, %v, want %v", res.GetText(), err, tt.code)
					}
					if n := handler.calls.Load(); n != tt.calls || took != tt.took {
						t.Errorf("%d calls were served, want %d; it took %v, want %v", n, tt.calls, took, tt.took)
					}
					if err := faults.Set(); err != nil {
						t.Fatal(err)
					}
					if _, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); err != nil {
						t.Errorf("after the faults were taken back: %v", err)
					}
				})
			})
		}
	}
}

func TestAFaultHappensAsOftenAsItIsToldTo(t *testing.T) {
	var faults rpi.Faults
	s := rpi.NewServer(&rpi.ServerOptions{Logger: quiet, Interceptors: []connect.ServerInterceptor{faults.Server}})
	echoapi.RegisterEchoServiceHandler(s, &answering{})
	client := echoapi.NewEchoServiceClient(connect.NewClient(rpi.Local(s, nil)))
	failed := func(n int) (failed int) {
		for range n {
			if _, err := client.Echo(t.Context(), &echoapi.EchoRequest{}); err != nil {
				failed++
			}
		}
		return failed
	}
	refused := connect.NewError(connect.CodeAborted, "")
	if err := faults.Set(rpi.Fault{Rate: 1, Times: 3, Err: refused}); err != nil {
		t.Fatal(err)
	}
	if n := failed(10); n != 3 || faults.Injected() != 3 {
		t.Errorf("%d of 10 calls failed, %d injected, want 3", n, faults.Injected())
	}
	if err := faults.Set(rpi.Fault{Rate: 0.2, Err: refused}); err != nil {
		t.Fatal(err)
	}
	if n := failed(2000); n < 300 || n > 500 {
		t.Errorf("%d of 2000 calls failed, want about 400", n)
	}
}

func TestFaultsThatMakeNoSenseAreRefused(t *testing.T) {
	boom := connect.NewError(connect.CodeUnknown, "")
	for name, f := range map[string]rpi.Fault{
		"never":               {Err: boom},
		"more than always":    {Rate: 1.1, Err: boom},
		"a rate that is NaN":  {Rate: math.NaN(), Err: boom},
		"negative times":      {Rate: 1, Times: -1, Err: boom},
		"negative latency":    {Rate: 1, Latency: -1},
		"a lost answer alone": {Rate: 1, After: true},
		"an error in silence": {Rate: 1, Err: boom, Drop: true},
	} {
		var faults rpi.Faults
		if err := faults.Set(f); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
