package service_test

import (
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/internal/paritytest"
	"github.com/cleave-go/cleave/service"
)

// What is called on the ordinary port of a service cannot be told apart either:
// the fast wire and all that is HTTP.
func TestWhatPassesTheOrdinaryPortCannotBeToldApart(t *testing.T) {
	all := append([]paritytest.Binding{paritytest.Local()}, paritytest.Over(ordinary)...)
	paritytest.Run(t, append(all, paritytest.Binding{
		Name: "the ordinary port of a service, fast wire", Traits: paritytest.GRPC,
		Bind: paritytest.Remote(ordinary, map[string]string{discovery.MetaWire: discovery.WireGRPC}),
	}))
}

func ordinary(t testing.TB, s *connect.Server) string {
	addr, stop, err := service.Ordinary(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return addr
}
