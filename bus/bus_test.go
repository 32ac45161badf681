package bus_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
)

func TestSubjectNamesKindOwnerLaneAndType(t *testing.T) {
	tests := []struct{ name, category, kind, want string }{
		{"an event", "order", "order.placed", "evt.sales.order.27.order.placed"},
		{"a command goes to its target", "$cmd.kitchen", "create-ticket", "cmd.kitchen.51.create-ticket"},
		{"a reply goes to its caller", "$rpl.order", "ticket-created", "rpl.order.13.ticket-created"},
		{"what a subject cannot hold is replaced", "a b.*", "x y.>.", "evt.sales.a_b__.58.x_y._._"},
		{"nothing is still a token", "", "", "evt.sales._.61._"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := event.Record{Stream: event.Stream{Category: tt.category, ID: "1"}, Type: tt.kind}
			if got := bus.Subject("sales", r); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMatchFollowsTheWildcardsOfNATS(t *testing.T) {
	tests := []struct {
		pattern, subject string
		want             bool
	}{
		{"a.b", "a.b", true},
		{"a.b", "a.c", false},
		{"a.b", "a", false},
		{"a", "a.b", false},
		{"a.*", "a.b", true},
		{"a.*", "a.b.c", false},
		{"*.b", "a.b", true},
		{"a.>", "a.b.c", true},
		{"a.>", "a", false},
		{">", "a", true},
		{">", "", false},
		{"a.>.c", "a.b.c", false},
		{"a.*", "a.", false},
		{"", "", false},
	}
	for _, tt := range tests {
		if got := bus.Match(tt.pattern, tt.subject); got != tt.want {
			t.Errorf("pattern %q, subject %q: got %v, want %v", tt.pattern, tt.subject, got, tt.want)
		}
	}
}

func TestAFilterLetsItsLanesThroughAndSoDoItsPatterns(t *testing.T) {
	var subjects []string
	for _, category := range []string{"order", "menu", "$cmd.kitchen", "$rpl.order"} {
		for i := range 50 {
			s := event.Stream{Category: category, ID: strings.Repeat("x", i+1)}
			subjects = append(subjects, bus.Subject("order", event.Record{Stream: s, Type: "a.b"}))
		}
	}
	for _, of := range [][]string{nil, {">"}, {"evt.order.>"}, {"evt.order.menu.>", "cmd.kitchen.>"}, {"evt.order.*.*.a.b"}, {"evt.order.order.07.>"}, {"*.order.>"}, {"cmd.>"}} {
		for _, lanes := range []int{1, 2, 3, 64} {
			total, all := 0, bus.Filter{Subjects: of}
			for lane := range lanes {
				f := bus.Filter{Subjects: of, Lane: lane, Of: lanes}
				patterns := bus.Filter{Subjects: f.Patterns()}
				for _, s := range subjects {
					if f.Match(s) != patterns.Match(s) {
						t.Errorf("%v, lane %d of %d, subject %s: the filter says %v, the patterns %v", of, lane, lanes, s, f.Match(s), patterns.Match(s))
					}
					if f.Match(s) {
						total++
					}
				}
			}
			for _, s := range subjects {
				if all.Match(s) {
					total--
				}
			}
			if total != 0 {
				t.Errorf("%v: %d lanes let %+d subjects too many through", of, lanes, total)
			}
		}
	}
}

func FuzzSubjectIsAlwaysValid(f *testing.F) {
	f.Add("order", "order", "order.placed")
	f.Add("", "$cmd.", ". *")
	f.Fuzz(func(t *testing.T, service, category, kind string) {
		s := bus.Subject(service, event.Record{Stream: event.Stream{Category: category}, Type: kind})
		for tok := range strings.SplitSeq(s, ".") {
			if tok == "" || strings.ContainsAny(tok, " *>\t\r\n\x00") {
				t.Errorf("subject %q has the token %q", s, tok)
			}
		}
		if !bus.Match(">", s) || !bus.Match(s, s) {
			t.Errorf("subject %q does not match itself", s)
		}
	})
}

func TestPlacesAreOrderedByEpochThenPosition(t *testing.T) {
	want := []bus.Place{{}, {Epoch: "a", Position: 1, Seq: 9}, {Epoch: "a", Position: 2}, {Epoch: "b", Position: 1}}
	got := []bus.Place{want[2], want[3], want[0], want[1]}
	slices.SortFunc(got, bus.Place.Compare)
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
