package messaging_test

import (
	"context"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cleave-go/cleave/platform/messaging"
)

// start runs a broker and returns its URL and a function that stops it.
func start(t *testing.T, o messaging.Options) (url string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	o.Ready = func(url string) { ready <- url }
	go func() { done <- messaging.Run(ctx, o) }()
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}
	t.Cleanup(stop)
	select {
	case url = <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	return url, stop
}

func TestAfterARestartTheStreamsAreThereAgain(t *testing.T) {
	dir := t.TempDir()
	url, stop := start(t, messaging.Options{Dir: dir, Listen: "127.0.0.1:0", Token: "a-token"})
	nc, err := nats.Connect(url, nats.ReconnectWait(0))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, _ := jetstream.New(nc)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s.1", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	back := nc.StatusChanged(nats.CONNECTED)
	stop()
	_, addr, _ := strings.Cut(url, "@")
	start(t, messaging.Options{Dir: dir, Listen: addr, Token: "a-token"})
	<-back
	st, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := st.GetMsg(t.Context(), 1); err != nil || string(m.Data) != "kept" {
		t.Fatalf("after the restart: message %v, error %v", m, err)
	}
}

func TestAClientWithoutTheTokenIsRefused(t *testing.T) {
	url, _ := start(t, messaging.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Token: "a-token"})
	_, addr, _ := strings.Cut(url, "@")
	if nc, err := nats.Connect("nats://" + addr); err == nil {
		nc.Close()
		t.Fatal("connected without the token")
	}
}

func TestWhatCannotRunIsRefusedWithASentence(t *testing.T) {
	used := t.TempDir()
	url, _ := start(t, messaging.Options{Dir: used, Listen: "127.0.0.1:0"})
	tests := []struct {
		name string
		opts messaging.Options
		want string
	}{
		{"no folder", messaging.Options{}, "name the folder"},
		{"a folder in use", messaging.Options{Dir: used, Listen: "127.0.0.1:0"}, "another broker uses"},
		{"an address in use", messaging.Options{Dir: t.TempDir(), Listen: strings.TrimPrefix(url, "nats://")}, "in use"},
		{"beyond loopback without a token", messaging.Options{Dir: t.TempDir(), Listen: "0.0.0.0:0"}, "needs a token"},
		{"every address without a token", messaging.Options{Dir: t.TempDir(), Listen: ":4222"}, "needs a token"},
		{"a port that is no number", messaging.Options{Dir: t.TempDir(), Listen: "127.0.0.1:nats"}, "port"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := messaging.Run(t.Context(), tt.opts)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}
