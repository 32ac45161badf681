package event_test

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/event"
)

type (
	orderEvent interface{ orderEvent() }
	placed     struct {
		Restaurant string
		Total      int64
		Currency   string
	}
	placedV1 struct{ Rest string }
	placedV2 struct {
		Restaurant string
		Total      int64
	}
	approved struct{}
	noted    struct{ Text string }
	stranger struct{}
)

func (placed) orderEvent()   {}
func (approved) orderEvent() {}
func (*noted) orderEvent()   {}

var (
	fromV1 = event.Up(1, func(o placedV1) placedV2 { return placedV2{Restaurant: o.Rest, Total: 1} })
	fromV2 = event.Up(2, func(o placedV2) placed { return placed{o.Restaurant, o.Total, "USD"} })
	codec  = event.NewCodec[orderEvent](
		event.Of[placed]("order.placed", 3, fromV2, fromV1), // in any order
		event.Of[approved]("order.approved", 1),
		event.Of[*noted]("order.noted", 1),
	)
)

func TestACodecDecodesWhatItEncoded(t *testing.T) {
	for _, e := range []orderEvent{placed{"ajanta", 1234, "EUR"}, approved{}, &noted{"x"}} {
		rec, err := codec.Encode(e)
		if err != nil || rec.ID.IsZero() {
			t.Fatalf("got %+v, %v", rec, err)
		}
		rec.Stream, rec.Version, rec.Position, rec.Meta.Actor = event.Stream{Category: "order", ID: "1"}, 2, 3, "me"
		env, err := codec.Decode(rec)
		if err != nil || !reflect.DeepEqual(env.Data, e) {
			t.Fatalf("got %+v, %v, want %+v", env.Data, err, e)
		}
		if env.ID != rec.ID || env.Stream != rec.Stream || env.Version != 2 || env.Position != 3 || env.Type != rec.Type || env.Meta.Actor != "me" {
			t.Errorf("got %+v, want what %+v says", env, rec)
		}
	}
	if got, want := codec.Types(), []string{"order.approved", "order.noted", "order.placed"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if !codec.Has("order.placed") || codec.Has("order.lost") {
		t.Error("Has is wrong")
	}
}

func TestDecodeBringsOldDataToThePresentSchema(t *testing.T) {
	for schema, data := range map[int]string{
		1: `{"Rest":"ajanta"}`,
		2: `{"Restaurant":"ajanta","Total":1}`,
		3: `{"Restaurant":"ajanta","Total":1,"Currency":"USD","Unknown":true}`,
	} {
		env, err := codec.Decode(event.Record{Type: "order.placed", Schema: schema, Data: []byte(data)})
		if want := (placed{"ajanta", 1, "USD"}); err != nil || env.Data != want || env.Schema != 3 {
			t.Errorf("schema %d: got %+v, %v, want %+v", schema, env, err, want)
		}
	}
}

func TestDecodeSaysWhatItDoesNotKnow(t *testing.T) {
	for _, c := range []struct {
		name string
		rec  event.Record
		want error
	}{
		{"a type", event.Record{Type: "order.lost", Schema: 1, Data: []byte("{}")}, event.ErrUnknownType},
		{"a newer schema", event.Record{Type: "order.placed", Schema: 4, Data: []byte("{}")}, event.ErrUnknownSchema},
		{"a schema before the first", event.Record{Type: "order.placed", Schema: 0, Data: []byte("{}")}, event.ErrUnknownSchema},
		{"data that is no JSON", event.Record{Type: "order.placed", Schema: 3, Data: []byte("{")}, nil},
		{"old data that is no JSON", event.Record{Type: "order.placed", Schema: 1, Data: nil}, nil},
		{"data of another form", event.Record{Type: "order.placed", Schema: 3, Data: []byte(`{"Total":"x"}`)}, nil},
	} {
		_, err := codec.Decode(c.rec)
		if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.rec.Type) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

func TestEncodeRefusesAnEventWithoutAName(t *testing.T) {
	type unnamed struct{ approved }
	for _, e := range []orderEvent{nil, unnamed{}} {
		if rec, err := codec.Encode(e); !errors.Is(err, event.ErrUnknownType) {
			t.Errorf("%T: got %+v, %v", e, rec, err)
		}
	}
}

func TestACodecThatCannotBePanicsAtStart(t *testing.T) {
	for name, c := range map[string]struct {
		kinds []event.Kind
		want  string
	}{
		"a type outside the interface": {[]event.Kind{event.Of[stranger]("x", 1)}, "does not implement"},
		"a pointer's value":            {[]event.Kind{event.Of[noted]("x", 1)}, "does not implement"},
		"an interface":                 {[]event.Kind{event.Of[orderEvent]("x", 1)}, "concrete"},
		"a name twice":                 {[]event.Kind{event.Of[placed]("x", 1), event.Of[approved]("x", 1)}, "given twice"},
		"a type twice":                 {[]event.Kind{event.Of[placed]("x", 1), event.Of[placed]("y", 1)}, "given twice"},
		"a name with a space":          {[]event.Kind{event.Of[placed]("x y", 1)}, "letters"},
		"no name":                      {[]event.Kind{event.Of[placed]("", 1)}, "empty"},
		"schema 0":                     {[]event.Kind{event.Of[placed]("x", 0)}, "the first is 1"},
		"a gap before the present":     {[]event.Kind{event.Of[placed]("x", 3, fromV1)}, "without a gap"},
		"an upcaster too many":         {[]event.Kind{event.Of[placed]("x", 2, fromV1, fromV2)}, "without a gap"},
		"an upcaster twice":            {[]event.Kind{event.Of[placed]("x", 3, fromV2, fromV2)}, "without a gap"},
		"an upcaster to another type":  {[]event.Kind{event.Of[approved]("x", 3, fromV2)}, "makes"},
	} {
		func() {
			defer func() {
				if got, _ := recover().(string); !strings.Contains(got, c.want) {
					t.Errorf("%s: panicked with %q, want %q in it", name, got, c.want)
				}
			}()
			event.NewCodec[orderEvent](c.kinds...)
		}()
	}
}
