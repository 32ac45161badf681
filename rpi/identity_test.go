package rpi_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/auth/authtest"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/rpi"
)

func TestEveryServiceVerifiesTheCallerAndForwardsTheToken(t *testing.T) {
	t.Parallel()
	issuer, err := authtest.New("https://issuer.test", "ftgo")
	if err != nil {
		t.Fatal(err)
	}
	keys := httptest.NewServer(issuer)
	t.Cleanup(keys.Close)
	verifier, err := auth.NewVerifier(&auth.Options{JWKSURL: keys.URL, Issuer: "https://issuer.test", Audience: "ftgo"})
	if err != nil {
		t.Fatal(err)
	}
	token := func(d time.Duration, roles ...string) string {
		raw, err := issuer.Token("alice", d, roles...)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	for _, b := range bindings {
		t.Run(b.Name, func(t *testing.T) {
			behind := rpi.NewServer(&rpi.ServerOptions{Logger: quiet, Verifier: verifier})
			echoapi.RegisterEchoServiceHandler(behind, &impl{echo: func(ctx context.Context, _ *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
				p, err := auth.Require(ctx, "consumer")
				if err != nil {
					return nil, err
				}
				return &echoapi.EchoResponse{Text: p.Subject + " " + event.MetaFrom(ctx).Actor}, nil
			}})
			back := echoapi.NewEchoServiceClient(connect.NewClient(b.Bind(t, behind, rpi.CallOptions{})))
			ahead := rpi.NewServer(&rpi.ServerOptions{Logger: quiet, Verifier: verifier})
			var verdict error // of the call to the service behind
			echoapi.RegisterEchoServiceHandler(ahead, &impl{echo: func(ctx context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
				res, err := back.Echo(ctx, r)
				verdict = err
				return res, err
			}})
			front := echoapi.NewEchoServiceClient(connect.NewClient(b.Bind(t, ahead, rpi.CallOptions{})))
			as := func(raw string) context.Context { return auth.With(t.Context(), auth.Principal{}, raw) }

			res, err := front.Echo(as(token(time.Hour, "consumer")), &echoapi.EchoRequest{})
			if err != nil || res.Text != "alice alice" {
				t.Errorf("with a token: %v, %v", res, err)
			}
			if _, err := front.Echo(t.Context(), &echoapi.EchoRequest{}); err == nil || !errors.Is(verdict, auth.ErrNoToken) || connect.CodeOf(verdict) != connect.CodeUnauthenticated {
				t.Errorf("without a token: %v behind, %v", verdict, err)
			}
			if _, err := front.Echo(as(token(time.Hour, "courier")), &echoapi.EchoRequest{}); err == nil || !errors.Is(verdict, auth.ErrForbidden) || connect.CodeOf(verdict) != connect.CodePermissionDenied {
				t.Errorf("with another role: %v behind, %v", verdict, err)
			}
			if _, err := front.Echo(as(token(-time.Hour, "consumer")), &echoapi.EchoRequest{}); !errors.Is(err, auth.ErrExpired) {
				t.Errorf("with an expired token: %v", err)
			}
			if _, err := front.Echo(as("forged"), &echoapi.EchoRequest{}); !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("with a forged token: %v", err)
			}
		})
	}
}
