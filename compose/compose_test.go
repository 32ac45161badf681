package compose_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-go/cleave/compose"
)

var errDown = errors.New("connection refused")

func sleep(d time.Duration, err error) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case <-time.After(d):
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestPartsRunAtTheSameTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		missing, err := compose.Run(t.Context(), nil,
			compose.Part{Name: "a", Do: sleep(30*time.Millisecond, nil)},
			compose.Part{Name: "b", Do: sleep(40*time.Millisecond, nil)},
			compose.Part{Name: "c", After: []string{"a"}, Do: sleep(20*time.Millisecond, nil)},
		)
		if err != nil || len(missing) != 0 {
			t.Fatalf("missing %v, err %v", missing, err)
		}
		if got := time.Since(start); got != 50*time.Millisecond {
			t.Errorf("took %v, want the longest chain of 50ms", got)
		}
	})
}

func TestARequiredPartThatFailsEndsTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ran := false
		start := time.Now()
		_, err := compose.Run(t.Context(), nil,
			compose.Part{Name: "order", Service: "order", Do: sleep(10*time.Millisecond, errDown)},
			compose.Part{Name: "slow", Do: sleep(time.Hour, nil)},
			compose.Part{Name: "later", After: []string{"order"}, Do: func(context.Context) error { ran = true; return nil }},
		)
		var failure *compose.Failure
		if !errors.As(err, &failure) || failure.Part != "order" || failure.Service != "order" || !errors.Is(err, errDown) {
			t.Errorf("err = %v, want the failure of order", err)
		}
		if ran {
			t.Error("a part after the failed one ran")
		}
		if got := time.Since(start); got != 10*time.Millisecond {
			t.Errorf("took %v: the slow part was not cancelled", got)
		}
	})
}

func TestAnOptionalPartIsMissingWithARecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		missing, err := compose.Run(t.Context(), nil,
			compose.Part{Name: "order", Do: sleep(0, nil)},
			compose.Part{Name: "ticket", Service: "kitchen", Optional: true, Timeout: 150 * time.Millisecond, Do: sleep(time.Hour, nil)},
			compose.Part{Name: "cook", After: []string{"ticket"}, Optional: true, Do: sleep(0, nil)},
		)
		if err != nil {
			t.Fatal(err)
		}
		if len(missing) != 2 {
			t.Fatalf("missing = %v, want ticket and cook", missing)
		}
		f := missing[0]
		if f.Part != "ticket" || f.Service != "kitchen" || f.Code != "TIMEOUT" || !f.Retryable || f.Elapsed != 150*time.Millisecond {
			t.Errorf("record = %+v", f)
		}
		if !errors.Is(missing[1], compose.ErrSkipped) {
			t.Errorf("cook: %v, want ErrSkipped", missing[1].Err)
		}
	})
}

func TestAFallbackStandsIn(t *testing.T) {
	got := ""
	missing, err := compose.Run(t.Context(), nil,
		compose.Part{Name: "eta", Do: func(context.Context) error { return errDown },
			Fallback: func(cause error) error { got = "soon"; return nil }},
		compose.Part{Name: "text", After: []string{"eta"}, Do: func(context.Context) error { got += "!"; return nil }},
	)
	if err != nil || len(missing) != 1 || !missing[0].FellBack {
		t.Fatalf("missing %v, err %v", missing, err)
	}
	if got != "soon!" {
		t.Errorf("got %q", got)
	}
}

func TestAnOptionalPartLeavesTimeToAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name    string
			timeout time.Duration
			want    time.Duration
		}{
			{"four fifths of the time left by default", 0, 800 * time.Millisecond},
			{"its own timeout when that is shorter", 100 * time.Millisecond, 100 * time.Millisecond},
			{"four fifths when its own is longer", time.Minute, 800 * time.Millisecond},
			{"everything when negative", -1, time.Second},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			missing, err := compose.Run(ctx, nil, compose.Part{Name: "p", Optional: true, Timeout: c.timeout, Do: sleep(time.Hour, nil)})
			cancel()
			if err != nil || len(missing) != 1 {
				t.Fatalf("%s: missing %v, err %v", c.name, missing, err)
			}
			if missing[0].Elapsed != c.want {
				t.Errorf("%s: took %v, want %v", c.name, missing[0].Elapsed, c.want)
			}
		}
	})
}

func TestAPanicIsAFailureOfItsPart(t *testing.T) {
	missing, err := compose.Run(t.Context(), nil,
		compose.Part{Name: "bad", Optional: true, Do: func(context.Context) error { panic("boom") }},
		compose.Part{Name: "good", Do: func(context.Context) error { return nil }},
	)
	var p *compose.PanicError
	if err != nil || len(missing) != 1 || !errors.As(missing[0], &p) || p.Value != "boom" {
		t.Errorf("missing %v, err %v", missing, err)
	}
}

func TestPartsThatCannotBeOrderedAreRefused(t *testing.T) {
	ok := func(context.Context) error { t.Error("a part ran"); return nil }
	for _, c := range []struct {
		name  string
		parts []compose.Part
		want  string
	}{
		{"two with one name", []compose.Part{{Name: "a", Do: ok}, {Name: "a", Do: ok}}, `two parts are named "a"`},
		{"after a stranger", []compose.Part{{Name: "a", After: []string{"x"}, Do: ok}}, `after "x", which is not a part`},
		{"in a circle", []compose.Part{{Name: "a", After: []string{"b"}, Do: ok}, {Name: "b", After: []string{"a"}, Do: ok}}, "waits for itself"},
	} {
		if _, err := compose.Run(t.Context(), nil, c.parts...); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: err = %v, want %q", c.name, err, c.want)
		}
	}
}

func TestClassifyNamesTheFailure(t *testing.T) {
	o := &compose.Options{Classify: func(error) (string, bool) { return "UNAVAILABLE", true }}
	missing, _ := compose.Run(t.Context(), o, compose.Part{Name: "p", Optional: true, Do: func(context.Context) error { return errDown }})
	if len(missing) != 1 || missing[0].Code != "UNAVAILABLE" || !missing[0].Retryable {
		t.Errorf("missing = %v", missing)
	}
}
