package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cleave-go/cleave/breaker"
)

func ExampleBreaker_Do() {
	b, err := breaker.New("kitchen", &breaker.Options{
		MinCalls: 3,
		OpenFor:  func(int) time.Duration { return 5 * time.Second },
		OnEvent:  func(e breaker.Event) { fmt.Println(e.Breaker, "is", e.To, "because of", e.Reason) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 3 {
		_ = b.Do(context.Background(), func(context.Context) error { return errors.New("connection refused") })
	}

	err = b.Do(context.Background(), func(context.Context) error { return nil }) // is not called
	var open *breaker.OpenError
	if errors.As(err, &open) {
		fmt.Println(err, "for", open.RetryAfter().Round(time.Second))
	}
	// Output:
	// kitchen is open because of too many failures
	// circuit breaker kitchen is open for 5s
}

func ExampleGroup() {
	hosts, err := breaker.NewGroup[string](nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, err := breaker.Call(context.Background(), hosts.Get("10.0.0.7"),
		func(context.Context) (string, error) { return "pong", nil })
	fmt.Println(answer, err, hosts.Get("10.0.0.7").Stats().Succeeded)
	// Output: pong <nil> 1
}
