package deploy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-go/cleave/platform/deploy"
)

// fake is a target whose instances of version "bad" never become ready.
type fake struct {
	instances []deploy.Instance
	born      int
	slow      time.Duration // how long the others take
	calls     []string
	keeps     string // an instance that cannot be removed
}

func (f *fake) Instances(context.Context) ([]deploy.Instance, error) {
	return slices.Clone(f.instances), nil
}

func (f *fake) Apply(_ context.Context, version, inPlaceOf string) (string, error) {
	if i := f.find(inPlaceOf); i >= 0 {
		f.instances[i].Version = version
		return inPlaceOf, nil
	}
	f.born++
	id := fmt.Sprintf("new-%d", f.born)
	f.instances = append(f.instances, deploy.Instance{ID: id, Version: version})
	return id, nil
}

func (f *fake) Await(ctx context.Context, id string) error {
	if f.instances[f.find(id)].Version == "bad" {
		return errBad
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(f.slow):
		return nil
	}
}

var errBad = errors.New("exit status 3")

func (f *fake) Drain(_ context.Context, id string) error {
	f.calls = append(f.calls, "drain "+id)
	return nil
}

func (f *fake) Remove(_ context.Context, id string) error {
	f.calls = append(f.calls, "remove "+id)
	if id == f.keeps {
		return errors.New("does not end")
	}
	f.instances = slices.Delete(f.instances, f.find(id), f.find(id)+1)
	return nil
}

func (f *fake) find(id string) int {
	return slices.IndexFunc(f.instances, func(i deploy.Instance) bool { return i.ID == id })
}

func (f *fake) list() string {
	var list []string
	for _, i := range f.instances {
		list = append(list, i.ID+"="+i.Version)
	}
	return strings.Join(list, " ")
}

func two() []deploy.Instance {
	return []deploy.Instance{{ID: "a", Version: "v1"}, {ID: "b", Version: "v1"}}
}

func TestRolling(t *testing.T) {
	alone := []deploy.Instance{{ID: "a", Version: "v1", Alone: true}}
	tests := []struct {
		name    string
		target  fake
		version string
		want    string // the instances afterwards
		err     string
	}{
		{"every instance is replaced", fake{instances: two()}, "v2", "new-1=v2 new-2=v2", ""},
		{"a program without instances has nothing to replace", fake{}, "v2", "", ""},
		{"a bad version leaves the old one serving", fake{instances: two()}, "bad", "a=v1 b=v1",
			"a new instance did not become ready: exit status 3; the old version goes on as before"},
		{"an instance that stands alone is replaced in its place", fake{instances: alone}, "v2", "a=v2", ""},
		{"and put back in its place", fake{instances: slices.Clone(alone)}, "bad", "a=v1",
			"a new instance did not become ready: exit status 3; the old version runs again"},
		{"an instance that does not end is named", fake{instances: two(), keeps: "a"}, "v2", "a=v1 new-1=v2 new-2=v2",
			"the new version runs; could not be removed: a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := deploy.Rolling(t.Context(), &tt.target, tt.version, nil)
			if got := tt.target.list(); got != tt.want {
				t.Errorf("runs %q, want %q", got, tt.want)
			}
			switch {
			case tt.err == "" && err != nil:
				t.Errorf("got %v", err)
			case tt.err != "" && (err == nil || !strings.HasSuffix(err.Error(), tt.err)):
				t.Errorf("got %v, want %q", err, tt.err)
			}
			var failed *deploy.Error
			if err != nil && !errors.As(err, &failed) {
				t.Errorf("%T is not an *Error", err)
			}
		})
	}
}

func TestARolloutWhoseContextEndsGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fake{instances: two(), slow: time.Second}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond) // while the second is awaited
		defer cancel()
		var said []string
		err := deploy.Rolling(ctx, f, "v2", &deploy.Options{Say: func(text string) { said = append(said, text) }})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
		if got, want := f.list(), "b=v1 new-3=v1"; got != want {
			t.Errorf("runs %q, want %q", got, want)
		}
		if want := "new-3 is ready, stopping new-1"; !slices.Contains(said, want) {
			t.Errorf("said %q, want %q among it", said, want)
		}
	})
}
