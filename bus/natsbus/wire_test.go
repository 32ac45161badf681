package natsbus_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/natsbus"
	"github.com/cleave-go/cleave/event"
)

const epoch = "018f00000000aaaaaaaaaaaaaaaaaaaa"

func record() event.Record {
	return event.Record{
		ID:     event.DeriveID("test", 1),
		Stream: event.Stream{Category: "order", ID: "o-1"}, Version: 3, Position: 42,
		Type: "order.placed", Schema: 2, Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC),
		Meta: event.Meta{
			Correlation: "c-1", Causation: "d-1", Tenant: "t 1", Actor: "änn",
			TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
			Tags:        []string{"course:c1"}, Ext: map[string]string{"region": "eu", "Odd-Name": "x", "subject": "y"},
		},
		Data: json.RawMessage(`{"total":5}`),
	}
}

// TestAMessageIsACloudEvent freezes what is on the wire.
func TestAMessageIsACloudEvent(t *testing.T) {
	m, err := natsbus.Encode("order", epoch, record())
	if err != nil {
		t.Fatal(err)
	}
	want := nats.Header{
		"Nats-Msg-Id":        {"/order/" + epoch + "#42"},
		"content-type":       {"application/json"},
		"ce-specversion":     {"1.0"},
		"ce-id":              {event.DeriveID("test", 1).String()},
		"ce-source":          {"/order/" + epoch},
		"ce-type":            {"order.placed"},
		"ce-subject":         {"order/o-1"},
		"ce-time":            {"2026-01-02T03:04:05.000006Z"},
		"ce-datacontenttype": {"application/json"},
		"ce-dataschema":      {"urn:cleave:schema:order.placed:2"},
		"ce-sequence":        {"00000000000000000042"},
		"ce-streamversion":   {"3"},
		"ce-streamcategory":  {"order"},
		"ce-partitionkey":    {"order/o-1"},
		"ce-traceparent":     {"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		"ce-correlationid":   {"c-1"},
		"ce-causationid":     {"d-1"},
		"ce-tenant":          {"t%201"},
		"ce-actor":           {"%C3%A4nn"},
		"ce-region":          {"eu"},
		"ce-cleavemeta":      {`{%22tags%22:[%22course:c1%22],%22ext%22:{%22Odd-Name%22:%22x%22,%22subject%22:%22y%22}}`},
	}
	if !reflect.DeepEqual(m.Header, want) {
		t.Errorf("got headers\n%v, want\n%v", m.Header, want)
	}
	if want := "out.order." + bus.Subject("order", record()); m.Subject != want {
		t.Errorf("got subject %q, want %q", m.Subject, want)
	}
	got, err := natsbus.Decode("order", "s", m.Header, m.Data, 7)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Record, record()) {
		t.Errorf("got record\n%+v, want\n%+v", got.Record, record())
	}
	if want := (bus.Place{Epoch: epoch, Position: 42, Seq: 7}); got.Place != want {
		t.Errorf("got place %+v, want %+v", got.Place, want)
	}
}

func TestWhatIsNotOfTheTableIsForeignAndWhatIsDamagedIsAnError(t *testing.T) {
	tests := []struct {
		name    string
		header  string
		value   string
		foreign bool
	}{
		{"no source", "ce-source", "", true},
		{"another service", "ce-source", "/kitchen/" + epoch, true},
		{"no position", "ce-sequence", "x", true},
		{"position 0", "ce-sequence", "00000000000000000000", true},
		{"an id of another position", "Nats-Msg-Id", "/order/" + epoch + "#41", true},
		{"a damaged event id", "ce-id", "1", false},
		{"a damaged time", "ce-time", "yesterday", false},
		{"no version", "ce-streamversion", "", false},
		{"no schema", "ce-dataschema", "urn:x", false},
		{"a subject of another category", "ce-subject", "menu/1", false},
		{"damaged extensions", "ce-cleavemeta", "{", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := natsbus.Encode("order", epoch, record())
			if err != nil {
				t.Fatal(err)
			}
			m.Header[tt.header] = []string{tt.value}
			_, err = natsbus.Decode("order", "s", m.Header, m.Data, 7)
			if err == nil || errors.Is(err, natsbus.ErrForeign) != tt.foreign {
				t.Errorf("got %v, want an error; foreign: %v", err, tt.foreign)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("order", "/order/e", "1", "2026-01-02T03:04:05Z", "urn:a:1", "order/1", "{}", "v")
	f.Fuzz(func(t *testing.T, service, source, seq, at, schema, subject, rest, v string) {
		h := nats.Header{
			"Nats-Msg-Id": {source + "#" + seq}, "ce-source": {source}, "ce-sequence": {seq}, "ce-time": {at},
			"ce-dataschema": {schema}, "ce-subject": {subject}, "ce-streamcategory": {v}, "ce-cleavemeta": {rest},
			"ce-specversion": {"1.0"}, "ce-type": {"t"}, "ce-id": {record().ID.String()}, "ce-streamversion": {"1"}, "ce-x": {v},
		}
		m, err := natsbus.Decode(service, "s", h, nil, 1)
		if err == nil && (m.Place.Position == 0 || m.Place.Epoch == "" || m.Position != m.Place.Position) {
			t.Errorf("got %+v from %v", m, h)
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add("o-1", "order.placed", "a\r\nb", "%41", "region", "ü")
	f.Fuzz(func(t *testing.T, id, kind, actor, tag, name, value string) {
		r := record()
		r.Stream.ID, r.Type, r.Meta.Actor = id, kind, actor
		r.Meta.Tags, r.Meta.Ext = []string{tag}, map[string]string{name: value}
		if r.Stream.Check() != nil || event.CheckType(kind) != nil || r.Meta.Check() != nil {
			return
		}
		m, err := natsbus.Encode("order", epoch, r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := natsbus.Decode("order", "s", m.Header, m.Data, 7)
		if err != nil || !reflect.DeepEqual(got.Record, r) {
			t.Errorf("got %+v, error %v; want %+v", got.Record, err, r)
		}
	})
}

func TestConnectSaysWhatCanNeverWork(t *testing.T) {
	for _, url := range []string{"", "nats://127.0.0.1:notaport", "://"} {
		if b, err := natsbus.Connect(t.Context(), url, nil); err == nil {
			b.Close()
			t.Errorf("url %q: got no error", url)
		}
	}
}
