package breaker_test

import (
	"context"
	"testing"
	"time"

	"github.com/cleave-go/cleave/breaker"
)

func BenchmarkDo(b *testing.B) {
	ok := func(context.Context) error { return nil }
	for _, bb := range []struct {
		name string
		opts *breaker.Options
		trip bool
	}{
		{"closed", nil, false},
		{"closed and timed", &breaker.Options{SlowCall: time.Second}, false},
		{"closed over a count", &breaker.Options{Window: breaker.Count(100)}, false},
		{"open", nil, true},
	} {
		b.Run(bb.name, func(b *testing.B) {
			br, err := breaker.New("bench", bb.opts)
			if err != nil {
				b.Fatal(err)
			}
			if bb.trip {
				br.Trip(time.Hour)
			}
			b.ReportAllocs()
			for b.Loop() {
				_ = br.Do(b.Context(), ok)
			}
		})
	}
}
