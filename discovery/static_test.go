package discovery_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"

	"github.com/cleave-go/cleave/discovery"
)

func TestStaticAnswersAtOnceAndStaysUntilTheContextEnds(t *testing.T) {
	tests := []struct {
		name, service string
		want          int
	}{
		{"a known service has its addresses", "kitchen", 2},
		{"an unknown service has none", "order", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				r := discovery.Static(map[string][]string{"kitchen": {"127.0.0.1:2", "127.0.0.1:1"}})
				ended := make(chan int)
				go func() {
					n := 0
					for s, err := range r.Watch(ctx, tt.service) {
						if err != nil || len(s.Live()) != tt.want {
							t.Errorf("snapshot = %+v, %v; want %d instances", s, err, tt.want)
						}
						n++
					}
					ended <- n
				}()
				synctest.Wait()
				select {
				case <-ended:
					t.Error("the watch ended before its context")
				default:
				}
				cancel()
				if n := <-ended; n != 1 {
					t.Errorf("%d snapshots, want 1", n)
				}
			})
		})
	}
}

func TestStatusIsReadableText(t *testing.T) {
	for s := discovery.Up; s <= discovery.Suspect; s++ {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back discovery.Status
		if err := json.Unmarshal(text, &back); err != nil || back != s {
			t.Errorf("%s read back as %v, %v", text, back, err)
		}
	}
	if _, err := discovery.ParseStatus("SLEEPY"); err == nil {
		t.Error("an unknown status was accepted")
	}
}
