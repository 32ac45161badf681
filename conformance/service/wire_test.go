package service_test

import (
	"context"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/cleave-go/cleave/conformance/internal/registrytest"
	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/internal/tlstest"
	"github.com/cleave-go/cleave/service"
)

func TestWhatAnInstanceAnnouncesIsWhatItIsCalledBy(t *testing.T) {
	t.Parallel()
	off := []string{"CLEAVE_WIRE=connect"}
	ca := tlstest.NewCA(t)
	secured := func(name string) []string {
		dir := t.TempDir()
		ca.Write(t, dir, tlstest.Cert{DNS: []string{name}})
		return []string{"CLEAVE_TLS_CERT=" + filepath.Join(dir, "cert.pem"), "CLEAVE_TLS_KEY=" + filepath.Join(dir, "key.pem"), "CLEAVE_TLS_CA=" + filepath.Join(dir, "ca.pem")}
	}
	for name, c := range map[string]struct {
		called, caller   []string
		edge             bool
		announced, wants string
	}{
		"by default":                       {announced: "grpc", wants: "grpc"},
		"where the called switched it off": {called: off, wants: "connect"},
		"where the caller switched it off": {caller: off, announced: "grpc", wants: "connect"},
		"at an edge":                       {edge: true, wants: "connect"},
		"with TLS":                         {called: secured("echo"), caller: secured("caller"), wants: "connect"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := registrytest.Start(t)
			var executed atomic.Int64
			stopEcho := startWith(t, c.called, "echo-1", url, service.Named{Name: "echo", New: func(_ context.Context, h *service.Host) error {
				if c.edge {
					h.Edge("")
				}
				echoapi.RegisterEchoServiceHandler(h.Server(), echo{executed: &executed, instance: "echo-1"})
				return nil
			}})
			answers := make(chan []string, 1)
			stopCaller := startWith(t, c.caller, "caller-1", url, service.Named{Name: "caller", New: func(_ context.Context, h *service.Host) error {
				echoes := echoapi.NewEchoServiceClient(h.Client("echo"))
				h.Run("call", func(ctx context.Context) error {
					res, err := echoes.Echo(ctx, &echoapi.EchoRequest{})
					answers <- res.GetList()
					return err
				})
				return nil
			}})
			if got := <-answers; len(got) != 1 || got[0] != c.wants {
				t.Errorf("called by %v, want %s", got, c.wants)
			}
			client, err := discovery.NewClient(url, "", nil)
			if err != nil {
				t.Fatal(err)
			}
			for s, err := range client.Watch(t.Context(), "echo") {
				if err != nil || len(s.Instances) != 1 || s.Instances[0].Meta[discovery.MetaWire] != c.announced {
					t.Errorf("announced: %v, %v, want wire=%q", s.Instances, err, c.announced)
				}
				break
			}
			stopCaller()
			stopEcho()
		})
	}
}
