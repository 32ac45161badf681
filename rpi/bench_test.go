package rpi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"
	"connectrpc.com/connect/v2/connectinprocess"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

// BenchmarkCall compares the bindings with what they are made of.
func BenchmarkCall(b *testing.B) {
	bare := connect.NewServer()
	echoapi.RegisterEchoServiceHandler(bare, &answering{name: "x"})
	full := rpi.NewServer(&rpi.ServerOptions{Logger: quiet})
	echoapi.RegisterEchoServiceHandler(full, &answering{name: "x"})
	bareHTTP, fullHTTP := httptest.NewServer(rpi.Handler(bare)), httptest.NewServer(rpi.Handler(full))
	defer bareHTTP.Close()
	defer fullHTTP.Close()
	far := rpi.Remote("echo", at(fullHTTP.Listener.Addr().String()), &rpi.RemoteOptions{Logger: quiet})
	go far.Run(b.Context()) //nolint:errcheck // ends with the benchmark
	for _, c := range []struct {
		name string
		to   connect.Transport
	}{
		{"connectinprocess, no chain", connectinprocess.New(bare)},
		{"local", rpi.Local(full, nil)},
		{"connecthttp, no chain", connecthttp.NewTransport(http.DefaultClient, bareHTTP.URL)},
		{"remote", far},
	} {
		b.Run(c.name, func(b *testing.B) {
			client := echoapi.NewEchoServiceClient(connect.NewClient(c.to))
			req := &echoapi.EchoRequest{Text: "hello", Number: 7}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := client.Echo(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
