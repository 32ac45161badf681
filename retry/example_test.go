package retry_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cleave-go/cleave/retry"
)

func ExampleDo() {
	p := &retry.Policy{
		Backoff: time.Millisecond,
		Retry: func(err error) retry.Verdict {
			if errors.Is(err, errBusy) {
				return retry.Again
			}
			return retry.Stop
		},
	}
	calls := 0
	err := retry.Do(context.Background(), p, func(context.Context) error {
		if calls++; calls < 3 {
			return errBusy
		}
		return nil
	})
	fmt.Println(calls, "calls, error", err)
	// Output: 3 calls, error <nil>
}
