// Package connect_test runs the suite by which implementations of Connect,
// gRPC and gRPC-Web are measured against rpi's server and client, each with its
// whole chain.
package connect_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

var quiet = slog.New(slog.DiscardHandler)

func tracer() trace.Tracer { return sdktrace.NewTracerProvider().Tracer("suite") }
func meter() metric.Meter {
	return sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader())).Meter("suite")
}

// The runner starts the program under test, which is this one, told by these
// variables what to be and where the suite's .proto files are.
const (
	roleVariable  = "CLEAVE_CONFORMANCE_ROLE"
	protoVariable = "CLEAVE_CONFORMANCE_PROTO"
)

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		os.Exit(m.Run())
	}
	if err := play(role); err != nil {
		fmt.Fprintln(os.Stderr, role+":", err)
		os.Exit(1)
	}
}

func play(role string) error {
	s, err := loadSchema(os.Getenv(protoVariable))
	if err != nil {
		return err
	}
	f := frames{in: os.Stdin, out: os.Stdout}
	switch role {
	case "server":
		return serveSuite(s, f)
	case "grpcwire server":
		return serveSuiteFast(s, f)
	}
	return callSuite(s, f, role)
}

// features is the part of the suite that is run. What is left out is what
// connect leaves out: HTTP/3, and bidirectional streams over HTTP/1.1.
func features(protocol string) map[string]any {
	long := os.Getenv("CLEAVE_LONG") != ""
	config := map[string]any{"features": map[string]any{
		"versions": []string{"HTTP_VERSION_1", "HTTP_VERSION_2"}, "protocols": []string{protocol},
		"codecs": []string{"CODEC_PROTO", "CODEC_JSON"}, "compressions": []string{"COMPRESSION_IDENTITY", "COMPRESSION_GZIP"},
		"supportsTls": long, "supportsTlsClientCerts": long,
	}}
	if !long { // binary as it is and JSON compressed, without TLS
		config["excludeCases"] = []map[string]string{
			{"codec": "CODEC_PROTO", "compression": "COMPRESSION_GZIP"},
			{"codec": "CODEC_JSON", "compression": "COMPRESSION_IDENTITY"},
		}
	}
	return config
}

func TestServerAndClientPassTheConnectConformanceSuite(t *testing.T) {
	runner := filepath.Join(t.TempDir(), "connectconformance")
	output(t, "go", "build", "-o", runner, "connectrpc.com/conformance/cmd/connectconformance")
	module := strings.TrimSpace(output(t, "go", "list", "-m", "-f", "{{.Dir}}", "connectrpc.com/conformance"))
	t.Setenv(protoVariable, filepath.Join(module, "proto"))
	roles := []string{"server", "client"}
	if os.Getenv("CLEAVE_LONG") != "" {
		roles = append(roles, "fixed client")
	}
	for _, role := range roles {
		for _, protocol := range []string{"PROTOCOL_CONNECT", "PROTOCOL_GRPC", "PROTOCOL_GRPC_WEB"} {
			t.Run(role+" "+strings.TrimPrefix(protocol, "PROTOCOL_"), func(t *testing.T) {
				t.Setenv(roleVariable, role)
				suite(t, runner, role, protocol)
			})
		}
	}
}

var summary = regexp.MustCompile(`Total cases: (\d+)\n(\d+) passed, (\d+) failed`)

// suite runs the part of the suite that is for role and protocol. The runner
// brings its own peers: connect-go as the reference, and grpc-go.
func suite(t *testing.T, runner, role, protocol string) {
	part := features(protocol)
	if strings.HasPrefix(role, "grpcwire") {
		part = fastFeatures
	}
	config, err := json.Marshal(part) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, config, 0o600); err != nil {
		t.Fatal(err)
	}
	mode := "client"
	if strings.HasSuffix(role, "server") {
		mode = "server"
	}
	args := []string{"--mode", mode, "--conf", file}
	if pattern := os.Getenv("CLEAVE_CONFORMANCE_RUN"); pattern != "" { // one case, while looking for its cause
		args = append(args, "--trace", "--run", pattern)
	}
	run := func(more ...string) ([]byte, error) {
		return exec.Command(runner, slices.Concat(args, more, []string{"--", os.Args[0]})...).CombinedOutput()
	}
	out, err := run()
	found := summary.FindSubmatch(out)
	if again := timeouts(out); err != nil && found != nil && len(again) > 0 {
		t.Logf("run once more, alone: %s", again)
		if more, errAgain := run(again...); errAgain == nil {
			err = nil
		} else {
			out = more
		}
	}
	if err != nil || found == nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if total, _ := strconv.Atoi(string(found[1])); total < 100 {
		t.Errorf("got %d cases, want hundreds", total)
	}
	t.Logf("%s cases: %s passed, %s failed", found[1], found[2], found[3])
}

var failure = regexp.MustCompile(`(?m)^\s*FAILED: (\S+):$`)

// timeouts has the runner repeat the cases that failed, if they are few and all
// about deadlines. There client and server give up at the same moment, and on a
// busy machine the client may leave in the middle of the server's answer.
func timeouts(out []byte) (args []string) {
	failed := failure.FindAllSubmatch(out, -1)
	for _, f := range failed {
		if !strings.HasPrefix(string(f[1]), "Timeouts/") || len(failed) > 3 {
			return nil
		}
		args = append(args, "--run", string(f[1]))
	}
	return args
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return string(out)
}
