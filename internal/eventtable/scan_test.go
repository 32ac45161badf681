package eventtable_test

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/internal/eventtable"
)

// FuzzMeta compares the short way with encoding/json.
func FuzzMeta(f *testing.F) {
	f.Add(`{"correlation":"a","causation":"b","tenant":"c","actor":"d","traceparent":"e"}`)
	f.Add(`{"actor":"a\"b","tags":["x"],"ext":{"k":"v"}}`)
	f.Add(`{ "actor" : "a" }`)
	f.Add(`{"actor":"a","actor":"b"}`)
	f.Add(`{}`)
	f.Add(`{"Actor":"a","x":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		var got, want event.Meta
		err := json.Unmarshal([]byte(text), &want)
		if err != nil {
			return // insert does not write such
		}
		again, err := json.Marshal(want)
		if err != nil {
			return
		}
		if err := eventtable.ParseMeta(string(again), &got); err != nil {
			t.Fatal(err)
		}
		var back event.Meta
		if err := json.Unmarshal(again, &back); err != nil || !reflect.DeepEqual(got, back) {
			t.Errorf("%s is read as %+v, want %+v, %v", again, got, back, err)
		}
	})
}
