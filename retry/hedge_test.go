package retry_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-go/cleave/retry"
)

func TestHedge(t *testing.T) {
	late, broken := errors.New("late"), errors.New("broken")
	type call struct {
		takes time.Duration
		err   error
	}
	for _, tt := range []struct {
		name  string
		delay time.Duration
		b     *retry.Budget
		first call
		then  call
		calls int
		want  error
		took  time.Duration
	}{
		{"who answers in time is not asked twice", 10, &retry.Budget{}, call{9, nil}, call{}, 1, nil, 9},
		{"the second answers first", 10, &retry.Budget{}, call{100, nil}, call{5, nil}, 2, nil, 15},
		{"the first answers first after all", 10, &retry.Budget{}, call{12, nil}, call{50, nil}, 2, nil, 12},
		{"a failure in time is final", 10, &retry.Budget{}, call{5, broken}, call{}, 1, broken, 5},
		{"a failure waits for the other", 10, &retry.Budget{}, call{12, broken}, call{50, nil}, 2, nil, 60},
		{"the last failure counts", 10, &retry.Budget{}, call{12, broken}, call{50, late}, 2, late, 60},
		{"without a budget nobody is asked twice", 10, &retry.Budget{Ratio: -1, PerSecond: -1}, call{100, nil}, call{}, 1, nil, 100},
		{"without a delay nobody is asked twice", 0, &retry.Budget{}, call{100, nil}, call{}, 1, nil, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls, canceled atomic.Int32
				begin := time.Now()
				_, err := retry.Hedge(t.Context(), tt.delay*time.Millisecond, tt.b, func(ctx context.Context) (int, error) {
					c := tt.first
					if calls.Add(1) == 2 {
						c = tt.then
					}
					select {
					case <-time.After(c.takes * time.Millisecond):
						return 0, c.err
					case <-ctx.Done():
						canceled.Add(1)
						return 0, ctx.Err()
					}
				})
				if took := time.Since(begin); err != tt.want || took != tt.took*time.Millisecond || int(calls.Load()) != tt.calls {
					t.Errorf("got %v after %v and %d calls; want %v after %v and %d", err, took, calls.Load(), tt.want, tt.took*time.Millisecond, tt.calls)
				}
				synctest.Wait()
				if want := int32(tt.calls - 1); tt.want == nil && tt.name != "a failure waits for the other" && canceled.Load() != want {
					t.Errorf("%d calls were canceled, want %d", canceled.Load(), want)
				}
			})
		})
	}
}
