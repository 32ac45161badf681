package event_test

import (
	"context"
	"reflect"
	"testing"

	"github.com/cleave-go/cleave/event"
)

func TestMetaTravelsInAContext(t *testing.T) {
	if got := event.MetaFrom(t.Context()); !reflect.DeepEqual(got, event.Meta{}) {
		t.Errorf("got %+v", got)
	}
	want := event.Meta{Correlation: "c", Tags: []string{"a"}}
	if got := event.MetaFrom(event.WithMeta(t.Context(), want)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestMergeReplacesWhatIsSetAndChangesNeither(t *testing.T) {
	a := event.Meta{Correlation: "a", Actor: "a", Tags: []string{"1", "2"}, Ext: map[string]string{"k": "a", "l": "a"}}
	b := event.Meta{Correlation: "b", Causation: "b", Tenant: "b", TraceParent: "b", Tags: []string{"2", "3"}, Ext: map[string]string{"k": "b"}}
	want := event.Meta{Correlation: "b", Causation: "b", Tenant: "b", TraceParent: "b", Actor: "a",
		Tags: []string{"1", "2", "3"}, Ext: map[string]string{"k": "b", "l": "a"}}
	if got := a.Merge(b); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if len(a.Tags) != 2 || a.Ext["k"] != "a" || len(b.Tags) != 2 || len(b.Ext) != 1 {
		t.Errorf("changed to %+v and %+v", a, b)
	}
	if got := (event.Meta{}).Merge(b); !reflect.DeepEqual(got.Ext, b.Ext) {
		t.Errorf("got %+v", got)
	}
}

func TestWhatFollowsAnEventIsCausedByItAndCorrelatedWithIt(t *testing.T) {
	r := event.Record{ID: event.NewID(), Meta: event.Meta{Actor: "me", Tenant: "t", TraceParent: "p", Tags: []string{"x"}}}
	want := event.Meta{Correlation: r.ID.String(), Causation: r.ID.String(), Actor: "me", Tenant: "t", TraceParent: "p"}
	if got := event.Follows(r); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	r.Meta.Correlation = "saga"
	if got := event.Follows(r); got.Correlation != "saga" {
		t.Errorf("got %+v", got)
	}
}

func TestAStreamKeepsItsLane(t *testing.T) {
	// Lanes are in subjects on the bus: a change here would break the order of a stream.
	for s, want := range map[event.Stream]int{{Category: "order", ID: "1"}: 27, {Category: "$cmd.kitchen", ID: "1"}: 51} {
		if got := s.Lane(); got != want {
			t.Errorf("%s: lane %d, want %d", s, got, want)
		}
	}
	used := map[int]bool{}
	for range 2000 {
		used[event.Stream{Category: "order", ID: event.NewID().String()}.Lane()] = true
	}
	if len(used) != event.Lanes {
		t.Errorf("%d lanes are used of %d", len(used), event.Lanes)
	}
}

func TestMetaFuncIsAskedOnceAndOnlyWhenNeeded(t *testing.T) {
	calls := 0
	ctx := event.WithMetaFunc(t.Context(), func() event.Meta {
		calls++
		return event.Meta{Correlation: "c"}
	})
	if calls != 0 {
		t.Error("it was asked before anyone needed it")
	}
	for range 2 {
		if got := event.MetaFrom(context.WithoutCancel(ctx)).Correlation; got != "c" {
			t.Errorf("got %q, want c", got)
		}
	}
	if calls != 1 {
		t.Errorf("asked %d times, want once", calls)
	}
	if got := event.MetaFrom(event.WithMeta(ctx, event.Meta{Correlation: "d"})).Correlation; got != "d" {
		t.Errorf("what is set within counts: got %q, want d", got)
	}
}
