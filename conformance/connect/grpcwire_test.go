package connect_test

import (
	"context"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/cleave-go/cleave/rpi/grpcwire"
)

// fastFeatures is the part of the suite that is for grpcwire: gRPC over HTTP/2
// with prior knowledge, binary and not compressed.
var fastFeatures = map[string]any{"features": map[string]any{
	"versions": []string{"HTTP_VERSION_2"}, "protocols": []string{"PROTOCOL_GRPC"}, "codecs": []string{"CODEC_PROTO"},
	"compressions": []string{"COMPRESSION_IDENTITY"}, "supportsH2c": true, "supportsTls": false, "supportsTlsClientCerts": false,
}}

// The runner's peers are connect-go and grpc-go.
func TestGRPCWirePassesTheConformanceSuiteOfGRPC(t *testing.T) {
	runner := filepath.Join(t.TempDir(), "connectconformance")
	output(t, "go", "build", "-o", runner, "connectrpc.com/conformance/cmd/connectconformance")
	module := strings.TrimSpace(output(t, "go", "list", "-m", "-f", "{{.Dir}}", "connectrpc.com/conformance"))
	t.Setenv(protoVariable, filepath.Join(module, "proto"))
	for _, role := range []string{"grpcwire server", "grpcwire client"} {
		t.Run(role, func(t *testing.T) {
			t.Setenv(roleVariable, role)
			suite(t, runner, role, "PROTOCOL_GRPC")
		})
	}
}

// serveSuiteFast is serveSuite over grpcwire alone, for clients of any kind.
func serveSuiteFast(s *schema, f frames) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	v, err := asked(s, f)
	if err != nil {
		return err
	}
	if err := v.tell(); err != nil {
		return err
	}
	return grpcwire.NewServer(v.calls, &grpcwire.ServerOptions{MaxMessage: v.ReceiveLimit, Logger: quiet, Drain: 1}).Serve(ctx, v)
}
