package cloudevents_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	natsce "github.com/cloudevents/sdk-go/protocol/nats_jetstream/v2"
	sdk "github.com/cloudevents/sdk-go/v2"
	"github.com/cloudevents/sdk-go/v2/binding"
	ceevent "github.com/cloudevents/sdk-go/v2/event"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	_ "modernc.org/sqlite"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/natsbus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/event/cloudevents"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/platform/messaging"
	"github.com/cleave-go/cleave/sqldb"
)

func record() event.Record {
	return event.Record{
		ID: event.NewID(), Stream: event.Stream{Category: "order", ID: "o-1"}, Version: 3, Position: 42,
		Type: "order.placed", Schema: 2, Time: time.Now().UTC().Truncate(time.Microsecond),
		Meta: event.Meta{Correlation: "c-1", Causation: "d-1", Tenant: "acme", Actor: "ann",
			TraceParent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", Ext: map[string]string{"region": "eu"}},
		Data: json.RawMessage(`{"total":5}`),
	}
}

const source = "/order/018f00000000aaaaaaaaaaaaaaaaaaaa"

// wantSDK compares what the SDK has read with a record.
func wantSDK(t *testing.T, got *ceevent.Event, want event.Record) {
	t.Helper()
	if err := got.Validate(); err != nil {
		t.Errorf("the SDK finds it invalid: %v", err)
	}
	texts := map[string][2]string{
		"id":              {got.ID(), want.ID.String()},
		"type":            {got.Type(), want.Type},
		"subject":         {got.Subject(), want.Stream.String()},
		"datacontenttype": {got.DataContentType(), "application/json"},
		"dataschema":      {got.DataSchema(), "urn:cleave:schema:order.placed:2"},
		"time":            {got.Time().UTC().String(), want.Time.String()},
		"data":            {string(got.Data()), string(want.Data)},
		"correlationid":   {text(got, "correlationid"), want.Meta.Correlation},
		"causationid":     {text(got, "causationid"), want.Meta.Causation},
		"tenant":          {text(got, "tenant"), want.Meta.Tenant},
		"actor":           {text(got, "actor"), want.Meta.Actor},
		"traceparent":     {text(got, "traceparent"), want.Meta.TraceParent},
		"region":          {text(got, "region"), want.Meta.Ext["region"]},
	}
	for name, c := range texts {
		if c[0] != c[1] {
			t.Errorf("the SDK reads %s as %q, want %q", name, c[0], c[1])
		}
	}
}

func text(e *ceevent.Event, name string) string {
	s, _ := e.Extensions()[name].(string)
	return s
}

func TestTheSDKReadsStructuredModeOverHTTP(t *testing.T) {
	want := record()
	got := receive(t, func(url string) *http.Request {
		body, err := cloudevents.Marshal(cloudevents.Event{Source: source, Record: want})
		if err != nil {
			t.Fatal(err)
		}
		return request(t, url, cloudevents.ContentType, body)
	})
	wantSDK(t, got, want)
	if got.Source() != source {
		t.Errorf("the source is %q", got.Source())
	}
}

func TestTheSDKReadsBinaryModeOverHTTP(t *testing.T) {
	want := record()
	got := receive(t, func(url string) *http.Request {
		r := request(t, url, "", want.Data)
		if err := cloudevents.SetHeaders(cloudevents.Event{Source: source, Record: want}, r.Header.Set); err != nil {
			t.Fatal(err)
		}
		return r
	})
	wantSDK(t, got, want)
}

func request(t *testing.T, url, contentType string, body []byte) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	return r
}

// receive sends a request to a handler of the SDK and returns what it read.
func receive(t *testing.T, make func(url string) *http.Request) *ceevent.Event {
	t.Helper()
	got := sendTo(t, make)
	if got == nil {
		t.Fatal("the SDK read nothing")
	}
	return got
}

func sendTo(t *testing.T, make func(url string) *http.Request) (got *ceevent.Event) {
	t.Helper()
	p, err := sdk.NewHTTP()
	if err != nil {
		t.Fatal(err)
	}
	h, err := sdk.NewHTTPReceiveHandler(t.Context(), p, func(e ceevent.Event) { got = &e })
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	defer server.Close()
	resp, err := http.DefaultClient.Do(make(server.URL))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		t.Errorf("the SDK answers %s", resp.Status)
	}
	return got
}

// written is an event as only the SDK makes it.
func written(t *testing.T) ceevent.Event {
	t.Helper()
	e := sdk.NewEvent()
	e.SetID("A234-1234")
	e.SetSource("https://github.com/cloudevents")
	e.SetType("com.github.pull_request.opened")
	e.SetSubject("123")
	e.SetTime(time.Date(2018, 4, 5, 17, 31, 0, 0, time.UTC))
	e.SetExtension("comexampleextension1", "ü \"quoted\" 100%")
	e.SetExtension("comexampleothervalue", 5)
	e.SetExtension("flag", true)
	if err := e.SetData(sdk.ApplicationJSON, map[string]any{"much": "wow"}); err != nil {
		t.Fatal(err)
	}
	return e
}

func wantRead(t *testing.T, got cloudevents.Event) {
	t.Helper()
	if got.Source != "https://github.com/cloudevents" || got.Type != "com.github.pull_request.opened" || string(got.Data) != `{"much":"wow"}` ||
		!got.Time.Equal(time.Date(2018, 4, 5, 17, 31, 0, 0, time.UTC)) || got.Recorded() == nil {
		t.Errorf("got %+v", got)
	}
	for name, want := range map[string]string{"ceid": "A234-1234", "subject": "123", "comexampleextension1": "ü \"quoted\" 100%",
		"comexampleothervalue": "5", "flag": "true"} {
		if got.Meta.Ext[name] != want {
			t.Errorf("%s is %q, want %q", name, got.Meta.Ext[name], want)
		}
	}
}

func TestWhatTheSDKWritesOverHTTPIsRead(t *testing.T) {
	for name, mode := range map[string]func(context.Context) context.Context{
		"structured": binding.WithForceStructured, "binary": binding.WithForceBinary,
	} {
		t.Run(name, func(t *testing.T) {
			read := make(chan cloudevents.Event, 1)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				e, err := cloudevents.Read(r.Header, body(t, r))
				if err != nil {
					t.Error(err)
				}
				read <- e
			}))
			defer server.Close()
			client, err := sdk.NewClientHTTP(sdk.WithTarget(server.URL))
			if err != nil {
				t.Fatal(err)
			}
			if err := client.Send(mode(t.Context()), written(t)); !sdk.IsACK(err) {
				t.Fatal(err)
			}
			wantRead(t, <-read)
		})
	}
}

func TestWhatTheSDKWritesForNATSIsRead(t *testing.T) {
	e := written(t)
	e.SetExtension("comexampleextension1", "plain") // its NATS binding escapes nothing
	for name, c := range map[string]struct {
		mode func(context.Context) context.Context
		read func(h nats.Header, data []byte) (cloudevents.Event, error)
	}{
		"structured": {binding.WithForceStructured, func(_ nats.Header, data []byte) (cloudevents.Event, error) { return cloudevents.Unmarshal(data) }},
		"binary":     {binding.WithForceBinary, func(h nats.Header, data []byte) (cloudevents.Event, error) { return cloudevents.FromHeaders(h, data) }},
	} {
		var data bytes.Buffer
		h, err := natsce.WriteMsg(c.mode(t.Context()), binding.ToMessage(&e), &data)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.read(h, data.Bytes())
		if err != nil || got.Meta.Ext["comexampleextension1"] != "plain" {
			t.Fatalf("%s: got %+v, %v", name, got, err)
		}
		got.Meta.Ext["comexampleextension1"] = "ü \"quoted\" 100%"
		wantRead(t, got)
	}
}

// TestTheSDKReadsWhatIsPublishedOnNATS goes the whole way: table, relay, broker.
func TestTheSDKReadsWhatIsPublishedOnNATS(t *testing.T) {
	ctx := t.Context()
	ready := make(chan string, 1)
	go messaging.Run(ctx, messaging.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Token: "t", Ready: func(u string) { ready <- u }})
	url := <-ready
	b, err := natsbus.Connect(ctx, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "order.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := outbox.Setup(ctx, db); err != nil {
		t.Fatal(err)
	}
	want := record()
	if err := db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		_, err := outbox.Add(ctx, tx, want.Stream, want)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	relaying, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- outbox.NewRelay("order", db, b, nil).Run(relaying) }()
	defer func() { stop(); <-done }()

	for _, err := range b.Subscribe(ctx, bus.Filter{Source: "order"}, bus.Place{}) {
		if err != nil {
			t.Fatal(err)
		}
		break // it is in the stream
	}
	js, err := jetstream.New(b.Conn())
	if err != nil {
		t.Fatal(err)
	}
	consumer, err := js.OrderedConsumer(ctx, "OUT_order", jetstream.OrderedConsumerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := consumer.Next()
	if err != nil {
		t.Fatal(err)
	}
	got, err := binding.ToEvent(ctx, natsce.NewMessage(&nats.Msg{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()}))
	if err != nil {
		t.Fatal(err)
	}
	want.Time = got.Time().UTC() // the table's
	wantSDK(t, got, want)
	if text(got, "sequence") != "00000000000000000001" || text(got, "streamversion") != "1" {
		t.Errorf("the SDK reads %v", got.Extensions())
	}
}

func body(t *testing.T, r *http.Request) []byte {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	return b
}
