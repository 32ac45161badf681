package grpcwire_test

import (
	"context"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi/grpcwire"
)

// A peer ends the connection, and all calls on it, for a block of headers that
// is beyond all measure. So none is sent.
func TestHeadersThatAreTooLargeCostOnlyTheirOwnCall(t *testing.T) {
	big := strings.Repeat("b", 100<<10)
	many := strings.Repeat("ü", 60<<10) // escaped it is three times as long as its bytes
	detailed := connect.NewError(connect.CodeAborted, "no").WithDetail(&connect.ErrorDetail{Type: "google.protobuf.StringValue", Value: []byte(big)})
	entered, release := make(chan struct{}), make(chan struct{})
	server := serve(t, &service{echo: func(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
		info, _ := connect.CallInfoForServerContext(ctx)
		switch r.Text {
		case "wait":
			close(entered)
			<-release
		case "header":
			info.ResponseHeader().Set("X-Big", big)
		case "trailer":
			info.ResponseTrailer().Set("X-Big", big)
		case "header of an error":
			info.ResponseHeader().Set("X-Big", big)
			return nil, connect.NewError(connect.CodeNotFound, "none")
		case "trailer of an error":
			info.ResponseTrailer().Set("X-Big", big)
			return nil, connect.NewError(connect.CodeNotFound, "none")
		case "message":
			return nil, connect.NewError(connect.CodeNotFound, many)
		case "details":
			return nil, detailed
		case "just not":
			info.ResponseHeader().Set("X-Big", big[:50<<10])
		}
		return &echoapi.EchoResponse{Text: r.Text}, nil
	}}, grpcwire.ServerOptions{})
	echo := server.client(t)
	beside := make(chan error, 1)
	go func() { _, err := echo.Echo(t.Context(), &echoapi.EchoRequest{Text: "wait"}); beside <- err }()
	<-entered
	for text, want := range map[string]string{
		"header":              "resource_exhausted: response headers too large",
		"trailer":             "resource_exhausted: response trailers too large",
		"header of an error":  "not_found: none",
		"trailer of an error": "not_found: none",
		"message":             "not_found: ü",
		"details":             "aborted: no",
		"just not":            "",
	} {
		_, err := echo.Echo(t.Context(), &echoapi.EchoRequest{Text: text})
		if got := ""; err != nil {
			if got = err.Error(); want == "" || !strings.HasPrefix(got, want) {
				t.Errorf("%s: got %.80q, want %q", text, got, want)
			}
		} else if want != "" {
			t.Errorf("%s: no error, want %q", text, want)
		}
	}
	for size, want := range map[int]connect.Code{100 << 10: connect.CodeResourceExhausted, 50 << 10: 0} {
		ctx, info := connect.NewClientContext(t.Context())
		info.RequestHeader().Set("X-Big", big[:min(size, len(big))])
		if _, err := echo.Echo(ctx, &echoapi.EchoRequest{}); err == nil && want != 0 || err != nil && connect.CodeOf(err) != want {
			t.Errorf("a request's header of %d bytes: %v, want %v", size, err, want)
		}
	}
	close(release)
	if err := <-beside; err != nil {
		t.Errorf("the call beside them: %v", err)
	}
}
