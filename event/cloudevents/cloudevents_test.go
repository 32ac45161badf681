package cloudevents_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/event/cloudevents"
)

const epoch = "018f00000000aaaaaaaaaaaaaaaaaaaa"

func recorded() cloudevents.Event {
	return cloudevents.Event{Source: cloudevents.Source("order", epoch), Record: event.Record{
		ID:     event.DeriveID("test", 1),
		Stream: event.Stream{Category: "order", ID: "o-1"}, Version: 3, Position: 42,
		Type: "order.placed", Schema: 2, Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
		Meta: event.Meta{
			Correlation: "c-1", Causation: "d-1", Tenant: "t 1", Actor: "änn",
			TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
			Tags:        []string{"course:c1"}, Ext: map[string]string{"region": "eu", "Odd-Name": "x", "subject": "y"},
		},
		Data: json.RawMessage(`{"total":5,"note":"<&>"}`),
	}}
}

// TestStructuredModeStaysAsItIs freezes what is on the wire.
func TestStructuredModeStaysAsItIs(t *testing.T) {
	text, err := cloudevents.Marshal(recorded())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"specversion":"1.0","id":"` + event.DeriveID("test", 1).String() + `","source":"/order/` + epoch + `","type":"order.placed",` +
		`"subject":"order/o-1","time":"2026-01-02T03:04:05.000006Z","datacontenttype":"application/json",` +
		`"dataschema":"urn:cleave:schema:order.placed:2","sequence":"00000000000000000042","streamversion":"3",` +
		`"streamcategory":"order","partitionkey":"order/o-1","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",` +
		`"correlationid":"c-1","causationid":"d-1","tenant":"t 1","actor":"änn",` +
		`"cleavemeta":"{\"tags\":[\"course:c1\"],\"ext\":{\"Odd-Name\":\"x\",\"subject\":\"y\"}}","region":"eu","data":{"total":5,"note":"<&>"}}`
	if string(text) != want {
		t.Errorf("got\n%s, want\n%s", text, want)
	}
}

// modes write an event and read it again.
var modes = map[string]func(e cloudevents.Event) (cloudevents.Event, error){
	"structured": func(e cloudevents.Event) (cloudevents.Event, error) {
		text, err := cloudevents.Marshal(e)
		if err != nil {
			return e, err
		}
		return cloudevents.Read(http.Header{"Content-Type": {cloudevents.ContentType + "; charset=utf-8"}}, text)
	},
	"binary over HTTP": func(e cloudevents.Event) (cloudevents.Event, error) {
		h := http.Header{}
		if err := cloudevents.SetHeaders(e, h.Set); err != nil {
			return e, err
		}
		return cloudevents.Read(h, e.Data)
	},
	"binary with names as they are": func(e cloudevents.Event) (cloudevents.Event, error) {
		h := map[string][]string{}
		if err := cloudevents.SetHeaders(e, func(name, value string) { h[name] = []string{value} }); err != nil {
			return e, err
		}
		return cloudevents.FromHeaders(h, e.Data)
	},
}

func TestWhatIsWrittenIsReadInEveryMode(t *testing.T) {
	for name, mode := range modes {
		for what, change := range map[string]func(e *cloudevents.Event){
			"as it is":                        func(*cloudevents.Event) {},
			"without metadata":                func(e *cloudevents.Event) { e.Meta = event.Meta{} },
			"with every character":            func(e *cloudevents.Event) { e.Meta.Actor = "zero \x00 tab \t % \" 'é' 日本 \U0001F355 \u2028" },
			"with empty and reserved names":   func(e *cloudevents.Event) { e.Meta.Ext = map[string]string{"": "a", "data": "b", "id": "c", "x": ""} },
			"with data that is no JSON":       func(e *cloudevents.Event) { e.Data = []byte("\xff\x00") },
			"with data that is a JSON text":   func(e *cloudevents.Event) { e.Data = []byte(`"text"`) },
			"with data of another kind":       func(e *cloudevents.Event) { e.Meta.Ext["datacontenttype"], e.Data = "text/plain", []byte("hello") },
			"with an odd type and an odd id":  func(e *cloudevents.Event) { e.Type, e.Stream.ID = "a.b-c_D", "ö/%2F \"'" },
			"with a content type that is not": func(e *cloudevents.Event) { e.Meta.Ext["datacontenttype"] = "application/json" },
		} {
			want := recorded()
			change(&want)
			got, err := mode(want)
			if err != nil || got.Recorded() != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s: got %+v, %v, want %+v", name, what, got, errors.Join(err, got.Recorded()), want)
			}
		}
	}
}

func TestAForeignEventIsReadWhole(t *testing.T) {
	text := `{"specversion":"1.0","id":"A234-1234","source":"https://github.com/cloudevents","type":"com.github.pull_request.opened",
		"subject":"123","dataschema":"https://example.org/schema","sequence":"A1","comexampleothervalue":5,"flag":true,"none":null,
		"datacontenttype":"text/xml","data":"<much wow=\"xml\"/>"}`
	e, err := cloudevents.Unmarshal([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"ceid": "A234-1234", "subject": "123", "dataschema": "https://example.org/schema", "sequence": "A1",
		"comexampleothervalue": "5", "flag": "true", "datacontenttype": "text/xml"}
	if !reflect.DeepEqual(e.Meta.Ext, want) {
		t.Errorf("kept %v, want %v", e.Meta.Ext, want)
	}
	if e.Source != "https://github.com/cloudevents" || e.Type != "com.github.pull_request.opened" || string(e.Data) != `<much wow="xml"/>` || e.Schema != 1 {
		t.Errorf("got %+v", e)
	}
	if again, err := cloudevents.Unmarshal([]byte(text)); err != nil || again.ID != e.ID || e.ID.IsZero() {
		t.Errorf("the same event again has the ID %s, had %s", again.ID, e.ID)
	}
	if err := e.Recorded(); !errors.Is(err, cloudevents.ErrForeign) || !strings.Contains(err.Error(), "streamversion") {
		t.Errorf("got %v", err)
	}
	quoted := http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"/x"}, "Ce-Type": {"t"}, "Ce-Comment": {`"Euro \"€\" %F0%9F%98%80"`}}
	if e, err := cloudevents.Read(quoted, nil); err != nil || e.Meta.Ext["comment"] != "Euro \"€\" 😀" {
		t.Errorf("got %+v, %v", e, err)
	}
}

func TestWhatIsNoCloudEventIsRefusedWithAReason(t *testing.T) {
	structured := http.Header{"Content-Type": {cloudevents.ContentType}}
	event := func(members string) string {
		return `{"specversion":"1.0","id":"1","source":"/s","type":"t"` + members + `}`
	}
	for name, c := range map[string]struct {
		header http.Header
		body   string
		want   string
	}{
		"no mode":                {http.Header{}, "{}", "neither"},
		"a batch":                {http.Header{"Content-Type": {"application/cloudevents-batch+json"}}, "[]", "neither"},
		"no object":              {structured, "[]", "object"},
		"nothing":                {structured, "", "object"},
		"no specversion":         {structured, `{"id":"1","source":"/s","type":"t"}`, "specversion"},
		"another specversion":    {structured, `{"specversion":"0.3","id":"1","source":"/s","type":"t"}`, "specversion"},
		"no id":                  {structured, `{"specversion":"1.0","source":"/s","type":"t"}`, "id"},
		"an empty source":        {structured, `{"specversion":"1.0","id":"1","source":"","type":"t"}`, "source"},
		"no type":                {structured, `{"specversion":"1.0","id":"1","source":"/s"}`, "type"},
		"a name in capitals":     {structured, event(`,"Name":"x"`), "Name"},
		"an object":              {structured, event(`,"name":{}`), "name"},
		"a time that is none":    {structured, event(`,"time":"yesterday"`), "time"},
		"data twice":             {structured, event(`,"data":1,"data_base64":"AA=="`), "both"},
		"base64 that is none":    {structured, event(`,"data_base64":"?"`), "data_base64"},
		"base64 that is no text": {structured, event(`,"data_base64":[1]`), "data_base64"},
		"metadata that is none":  {structured, event(`,"cleavemeta":"{"`), "cleavemeta"},
		"too much":               {structured, event(`,"x":"` + strings.Repeat("x", 2<<20) + `"`), "at most"},
		"too much data":          {http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"/x"}, "Ce-Type": {"t"}}, strings.Repeat("x", 1<<20), "at most"},
		"no UTF-8":               {http.Header{"Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {"/x"}, "Ce-Type": {"%FF"}}, "", "UTF-8"},
	} {
		if e, err := cloudevents.Read(c.header, []byte(c.body)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %+v, %v, want %q", name, e, err, c.want)
		}
	}
}

func FuzzUnmarshal(f *testing.F) {
	text, _ := cloudevents.Marshal(recorded())
	f.Add(string(text))
	f.Add(`{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"2024-01-01T00:00:00+02:00","n":1.5,"data_base64":"AA=="}`)
	f.Add(`{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"text/plain","data":"x","cleavemeta":"{\"ext\":{\"id\":\"x\"}}"}`)
	f.Fuzz(func(t *testing.T, text string) {
		e, err := cloudevents.Unmarshal([]byte(text))
		if err != nil {
			return
		}
		again, err := cloudevents.Marshal(e)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		back, err := cloudevents.Unmarshal(again)
		if err != nil {
			t.Fatalf("%q was written as %s: %v", text, again, err)
		}
		if back.ID != e.ID || back.Source != e.Source || back.Type != e.Type || back.Stream != e.Stream || back.Version != e.Version ||
			back.Position != e.Position || back.Meta.Actor != e.Meta.Actor || !back.Time.Equal(e.Time) {
			t.Errorf("%q: got %+v, then %+v", text, e, back)
		}
	})
}

func FuzzBinary(f *testing.F) {
	f.Add("o-1", "order.placed", "a\r\nb", "%41", "region", "ü", []byte("{}"))
	f.Add(`"`, "t", `"\"`, "", "data", "", []byte("\xff"))
	f.Fuzz(func(t *testing.T, id, kind, actor, tag, name, value string, data []byte) {
		want := recorded()
		want.Stream.ID, want.Type, want.Meta.Actor, want.Data = id, kind, actor, data
		want.Meta.Tags, want.Meta.Ext = []string{tag}, map[string]string{name: value}
		if want.Stream.Check() != nil || event.CheckType(kind) != nil || want.Meta.Check() != nil || len(data) > event.MaxData {
			return
		}
		for name, mode := range modes {
			got, err := mode(want)
			if json.Valid(got.Data) && json.Valid(want.Data) {
				got.Data = want.Data // white space may go
			}
			if len(got.Data) == 0 && len(want.Data) == 0 {
				got.Data = want.Data
			}
			if err != nil || got.Recorded() != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got %+v, %v; want %+v", name, got, err, want)
			}
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add("1.0", "id", "/s", "t", "2024-01-01T00:00:00Z", "{}", "text/plain", []byte("x"))
	f.Fuzz(func(t *testing.T, version, id, source, kind, at, meta, contentType string, body []byte) {
		h := http.Header{"Ce-Specversion": {version}, "Ce-Id": {id}, "Ce-Source": {source}, "Ce-Type": {kind}, "Ce-Time": {at},
			"Ce-Cleavemeta": {meta}, "Content-Type": {contentType}}
		e, err := cloudevents.Read(h, body)
		if err == nil && (e.Source == "" || e.Type == "" || e.ID.IsZero()) {
			t.Errorf("%v was read as %+v", h, e)
		}
	})
}
