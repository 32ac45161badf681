package eventsourcetest

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
)

// kept is a case that a record with a change comes back with it, from the
// stream and from the feed.
func kept(name string, change func(r *event.Record)) testcase {
	return testcase{name, func(t *testing.T, b Backend) {
		want := records(1)[0]
		change(&want)
		got := roundTrip(t, b, want)
		if fed := feed(t, b.Store, eventsource.FeedOptions{}); !reflect.DeepEqual(fed[len(fed)-1], got) {
			t.Errorf("the feed has %+v, the stream %+v", fed, got)
		}
		want.Stream, want.Version, want.Position, want.Time = got.Stream, got.Version, got.Position, got.Time
		if len(want.Data) == 0 && len(got.Data) == 0 {
			want.Data = got.Data
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got\n%+v, want\n%+v", got, want)
		}
	}}
}

func manyPairs(n int) map[string]string {
	m := map[string]string{}
	for i := range n {
		m[fmt.Sprintf("key-%d", i)] = fmt.Sprint(i)
	}
	return m
}

var metaCases = []testcase{
	kept("a correlation is kept", func(r *event.Record) { r.Meta.Correlation = "saga-1" }),
	kept("a causation is kept", func(r *event.Record) { r.Meta.Causation = event.NewID().String() }),
	kept("a tenant is kept", func(r *event.Record) { r.Meta.Tenant = "acme" }),
	kept("an actor is kept", func(r *event.Record) { r.Meta.Actor = "Ann <ann@example.org>" }),
	kept("a trace is kept", func(r *event.Record) { r.Meta.TraceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" }),
	kept("tags keep their order and repeats", func(r *event.Record) { r.Meta.Tags = []string{"z", "a", "a", "", "m"} }),
	kept("many extensions are kept", func(r *event.Record) { r.Meta.Ext = manyPairs(200) }),
	kept("extensions with the names of fields are extensions", func(r *event.Record) {
		r.Meta.Ext = map[string]string{"correlation": "a", "tags": "b", "ext": "c", "tenant": "d"}
	}),
	kept("metadata near its bound is kept", func(r *event.Record) { r.Meta.Actor = strings.Repeat("x", event.MaxMeta-20) }),
	kept("text that looks like something else is text", func(r *event.Record) {
		r.Meta = event.Meta{Actor: "null", Tenant: "{}", Correlation: "'; DROP TABLE es_event; --", Causation: `\x41`, Tags: []string{"[]", "NULL"}}
	}),
	kept("the shortest and the longest type are kept", func(r *event.Record) { r.Type = strings.Repeat("t", event.MaxName) }),
	kept("a type of one letter is kept", func(r *event.Record) { r.Type = "t" }),
	kept("a high schema is kept", func(r *event.Record) { r.Schema = math.MaxInt32 }),
	kept("an ID of any bytes is kept", func(r *event.Record) { r.ID = event.ID{0xff, 0, 0xff, 0, '\'', '"', 0x80} }),
	kept("no data is empty data", func(r *event.Record) { r.Data = nil }),
	kept("data that is a JSON text, number or null is kept", func(r *event.Record) { r.Data = []byte(` null `) }),
	kept("numbers of any length in data are kept", func(r *event.Record) { r.Data = []byte(`{"n":123456789012345678901234567890.10}`) }),
	kept("data with a zero character is kept", func(r *event.Record) { r.Data = []byte("{\"a\":\"\\u0000\"}\x00") }),
	kept("data of every byte is kept", func(r *event.Record) {
		r.Data = make([]byte, 256)
		for i := range r.Data {
			r.Data[i] = byte(i)
		}
	}),
	kept("data with line ends of any kind is kept", func(r *event.Record) { r.Data = []byte("a\r\nb\nc\rd\u2028") }),
	{"records of one append keep their own metadata and data", func(t *testing.T, b Backend) {
		recs := records(20)
		for i := range recs {
			recs[i].Meta.Actor, recs[i].Data, recs[i].Schema = fmt.Sprint(i), bytes.Repeat([]byte{'x'}, i), i+1
		}
		appended(t, b.Store, streamA, eventsource.Any, recs...)
		for i, r := range read(t, b.Other, streamA, eventsource.ReadOptions{}) {
			if r.Meta.Actor != fmt.Sprint(i) || len(r.Data) != i || r.Schema != i+1 || r.ID != recs[i].ID {
				t.Errorf("record %d is %+v", i, r)
			}
		}
	}},
	{"records of one append have one time, and times do not go back in a stream", func(t *testing.T, b Backend) {
		for range 5 {
			appended(t, b.Store, streamA, eventsource.Any, records(3)...)
		}
		recs := read(t, b.Store, streamA, eventsource.ReadOptions{})
		var last time.Time
		for i, r := range recs {
			if r.Time.Before(last) || i%3 > 0 && !r.Time.Equal(last) {
				t.Errorf("version %d has the time %v, the one before it %v", r.Version, r.Time, last)
			}
			last = r.Time
		}
	}},
	{"what the store sets is not the writer's to say", func(t *testing.T, b Backend) {
		r := records(1)[0]
		r.Stream, r.Version, r.Position = streamB, 9, 99
		if got := roundTrip(t, b, r); got.Stream != streamA || got.Version != 1 || got.Position != 1 {
			t.Errorf("got %+v", got)
		}
	}},
}
