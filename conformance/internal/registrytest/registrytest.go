// Package registrytest runs the registry for tests.
package registrytest

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/cleave-go/cleave/platform/registry"
)

// Token authorizes writes to the registry that Start runs.
const Token = "t"

// Start runs a registry until the test ends and returns its URL.
func Start(t testing.TB) (url string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	at, ended := make(chan registry.Faces, 1), make(chan error, 1)
	go func() {
		ended <- registry.Run(ctx, registry.Options{
			Listen: "127.0.0.1:0", DNS: "127.0.0.1:0", Token: Token, DisableRouter: true, Logger: slog.New(slog.DiscardHandler),
			Ready: func(f registry.Faces) { at <- f },
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	select {
	case f := <-at:
		return f.URL
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	return ""
}
