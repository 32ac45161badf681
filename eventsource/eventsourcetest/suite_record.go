package eventsourcetest

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
)

// roundTrip returns the record as it is read back.
func roundTrip(t *testing.T, b Backend, r event.Record) event.Record {
	t.Helper()
	appended(t, b.Store, streamA, eventsource.Any, r)
	got := read(t, b.Other, streamA, eventsource.ReadOptions{})
	return got[len(got)-1]
}

var recordCases = []testcase{
	{"metadata comes back as it was", func(t *testing.T, b Backend) {
		r := records(1)[0]
		r.Schema = 7
		r.Meta = event.Meta{Correlation: "c", Causation: "b", Tenant: "t", Actor: "consumer-1",
			TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
			Tags:        []string{"course:c1", ""}, Ext: map[string]string{"k": "v", "": "empty"}}
		got := roundTrip(t, b, r)
		if !reflect.DeepEqual(got.Meta, r.Meta) || got.Schema != 7 {
			t.Errorf("got %+v, want %+v", got, r)
		}
		if f := feed(t, b.Store, eventsource.FeedOptions{}); !reflect.DeepEqual(f[0], got) {
			t.Errorf("the feed has %+v, the stream %+v", f[0], got)
		}
	}},
	{"metadata keeps every character, and no metadata stays none", func(t *testing.T, b Backend) {
		r := records(2)
		r[0].Meta = event.Meta{Actor: "zero \x00 tab \t quote \" <&> é 日本 \U0001F355 \u2028", Ext: map[string]string{"\x01": "\x7f"}}
		for _, r := range r {
			if got := roundTrip(t, b, r); !reflect.DeepEqual(got.Meta, r.Meta) {
				t.Errorf("got %+q, want %+q", got.Meta, r.Meta)
			}
		}
	}},
	{"data comes back byte by byte, whatever it is", func(t *testing.T, b Backend) {
		random := make([]byte, 4096)
		for i := range random {
			random[i] = byte(rand.Uint32())
		}
		for _, data := range [][]byte{{}, {0}, []byte(`{ "b": 1.0, "a": 1e2, "a": "\u0000" }`), {0xff, 0xfe, 0}, random} {
			r := records(1)[0]
			r.Data = data
			if got := roundTrip(t, b, r); !bytes.Equal(got.Data, data) {
				t.Errorf("got %q, want %q", got.Data, data)
			}
		}
	}},
	{"the time is that of recording, in UTC", func(t *testing.T, b Backend) {
		before := time.Now().Truncate(time.Microsecond)
		r := records(1)[0]
		r.Time = time.Unix(0, 0) // not the writer's to say
		got := roundTrip(t, b, r)
		if got.Time.Before(before) || got.Time.After(time.Now()) || got.Time.Location() != time.UTC {
			t.Errorf("got %v, appended at %v", got.Time, before)
		}
	}},
	{"the biggest data fits, one byte more does not", func(t *testing.T, b Backend) {
		r := records(1)[0]
		r.Data = bytes.Repeat([]byte("x"), event.MaxData)
		if got := roundTrip(t, b, r); len(got.Data) != event.MaxData {
			t.Errorf("got %d bytes", len(got.Data))
		}
		wantRefused(t, b, streamA, "Data", func(r *event.Record) { r.Data = make([]byte, event.MaxData+1) })
	}},
	{"what cannot be recorded is refused with the field's name", func(t *testing.T, b Backend) {
		wantRefused(t, b, streamA, "ID", func(r *event.Record) { r.ID = event.ID{} })
		wantRefused(t, b, streamA, "Schema", func(r *event.Record) { r.Schema = 0 })
		for _, bad := range []string{"", " ", "a b", "a..b", ".a", "a.", "a.*", ">", "é", strings.Repeat("x", event.MaxName+1)} {
			wantRefused(t, b, streamA, "type", func(r *event.Record) { r.Type = bad })
			wantRefused(t, b, event.Stream{Category: bad, ID: "1"}, "category", func(*event.Record) {})
		}
		for _, bad := range []string{"", "a\x00", "a\n", "\xff", strings.Repeat("x", event.MaxID+1)} {
			wantRefused(t, b, event.Stream{Category: "order", ID: bad}, "ID", func(*event.Record) {})
		}
		wantRefused(t, b, streamA, "Actor", func(r *event.Record) { r.Meta.Actor = "\xff" })
		wantRefused(t, b, streamA, "tag", func(r *event.Record) { r.Meta.Tags = []string{"\xff"} })
		wantRefused(t, b, streamA, "Ext", func(r *event.Record) { r.Meta.Ext = map[string]string{"a": "\xff"} })
		wantRefused(t, b, streamA, "Meta", func(r *event.Record) { r.Meta.Actor = strings.Repeat("x", event.MaxMeta) })
		for _, n := range []int{0, eventsource.MaxAppend + 1} {
			if _, err := b.Store.Append(t.Context(), streamA, eventsource.Any, records(n)...); err == nil {
				t.Errorf("%d records were appended", n)
			}
		}
		wantHead(t, b.Store, 0)
	}},
	{"nothing is shared with who wrote or read it", func(t *testing.T, b Backend) {
		r := records(1)[0]
		r.Meta = event.Meta{Tags: []string{"a"}, Ext: map[string]string{"k": "v"}}
		want := string(r.Data)
		for range 2 {
			got := roundTrip(t, b, r)
			if string(got.Data) != want || got.Meta.Tags[0] != "a" || got.Meta.Ext["k"] != "v" {
				t.Fatalf("got %+v", got)
			}
			r.Data[0], r.Meta.Tags[0], r.Meta.Ext["k"] = 'X', "X", "X"
			got.Data[0], got.Meta.Tags[0], got.Meta.Ext["k"] = 'Y', "Y", "Y"
		}
	}},
	{"the epoch is one name for all handles, and stays", func(t *testing.T, b Backend) {
		first, err := b.Store.Epoch(t.Context())
		if err != nil || first == "" || len(first) > 64 {
			t.Fatalf("got %q, %v", first, err)
		}
		appended(t, b.Store, streamA, eventsource.Any, records(1)...)
		for _, st := range []eventsource.Store{b.Store, b.Other} {
			if again, err := st.Epoch(t.Context()); err != nil || again != first {
				t.Errorf("got %q, %v, want %q", again, err, first)
			}
		}
		if (event.Token{}).With("order", first, 1).IsZero() {
			t.Errorf("the epoch %q does not fit into a token", first)
		}
	}},
}

func wantRefused(t *testing.T, b Backend, s event.Stream, field string, change func(*event.Record)) {
	t.Helper()
	recs := records(2)
	change(&recs[1])
	c, err := b.Store.Append(t.Context(), s, eventsource.Any, recs...)
	if err == nil || !strings.Contains(err.Error(), field) {
		t.Errorf("got %+v, %v, want an error about %s", c, err, field)
	}
}
