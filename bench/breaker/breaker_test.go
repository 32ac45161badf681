package breaker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/cleave-go/cleave/breaker"
)

// peer calls f through a breaker.
type peer struct {
	name string
	make func(b *testing.B, open bool) (call func(context.Context, func(context.Context) error) error)
}

var peers = []peer{
	{"cleave", func(b *testing.B, open bool) func(context.Context, func(context.Context) error) error {
		br, err := breaker.New("bench", &breaker.Options{
			OpenFor: func(int) time.Duration { return time.Hour },
		})
		if err != nil {
			b.Fatal(err)
		}
		fail(br.Do, open)
		return br.Do
	}},
	{"gobreaker", func(_ *testing.B, open bool) func(context.Context, func(context.Context) error) error {
		br := gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
			Name: "bench", Timeout: time.Hour, Interval: 10 * time.Second, BucketPeriod: time.Second, MaxRequests: 3,
			ReadyToTrip: func(c gobreaker.Counts) bool {
				return c.Requests >= 20 && float64(c.TotalFailures) >= .5*float64(c.Requests)
			},
		})
		do := func(ctx context.Context, f func(context.Context) error) error {
			_, err := br.Execute(func() (struct{}, error) { return struct{}{}, f(ctx) })
			return err
		}
		fail(do, open)
		return do
	}},
}

func fail(do func(context.Context, func(context.Context) error) error, open bool) {
	for range 20 {
		if open {
			_ = do(context.Background(), func(context.Context) error { return errors.New("down") })
		}
	}
}

func BenchmarkBreaker(b *testing.B) {
	ctx := context.Background()
	ok := func(context.Context) error { return nil }
	for _, state := range []string{"closed", "open"} {
		for _, p := range peers {
			call := p.make(b, state == "open")
			if err := call(ctx, ok); (err != nil) != (state == "open") {
				b.Fatalf("%s is not %s: %v", p.name, state, err)
			}
			b.Run(state+"/serial/"+p.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_ = call(ctx, ok)
				}
			})
			b.Run(state+"/parallel/"+p.name, func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						_ = call(ctx, ok)
					}
				})
			})
		}
	}
}
