package natsbus

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
)

const (
	msgID       = "Nats-Msg-Id"
	schemaURN   = "urn:cleave:schema:"
	contentType = "application/json"
)

// errForeign says that a message is not one of a service's table.
var errForeign = errors.New("natsbus: foreign message")

func eventSource(service, epoch string) string { return "/" + url.PathEscape(service) + "/" + epoch }

// sourceEpoch returns the epoch in an event source of service.
func sourceEpoch(service, source string) (string, bool) {
	return strings.CutPrefix(source, eventSource(service, ""))
}

func messageID(source string, p event.Position) string {
	return source + "#" + strconv.FormatUint(uint64(p), 10)
}

// more is what has no place in a CloudEvent of its own.
type more struct {
	Tags []string          `json:"tags,omitempty"`
	Ext  map[string]string `json:"ext,omitempty"`
}

// encode returns r as it is published by service.
func encode(service, epoch string, r event.Record) (*nats.Msg, error) {
	source := eventSource(service, epoch)
	h := nats.Header{
		msgID:               {messageID(source, r.Position)},
		"content-type":      {contentType},
		"ce-specversion":    {"1.0"},
		"ce-id":             {r.ID.String()},
		"ce-source":         {source},
		"ce-type":           {escape(r.Type)},
		"ce-subject":        {escape(r.Stream.String())},
		"ce-time":           {r.Time.UTC().Format(time.RFC3339Nano)},
		"ce-dataschema":     {schemaURN + escape(url.PathEscape(r.Type)) + ":" + strconv.Itoa(r.Schema)},
		"ce-sequence":       {fmt.Sprintf("%020d", r.Position)},
		"ce-streamversion":  {strconv.FormatUint(r.Version, 10)},
		"ce-partitionkey":   {escape(r.Stream.String())},
		"ce-traceparent":    {escape(r.Meta.TraceParent)},
		"ce-correlationid":  {escape(r.Meta.Correlation)},
		"ce-causationid":    {escape(r.Meta.Causation)},
		"ce-tenant":         {escape(r.Meta.Tenant)},
		"ce-actor":          {escape(r.Meta.Actor)},
		"ce-streamcategory": {escape(r.Stream.Category)},
	}
	for k, v := range h {
		if v[0] == "" {
			delete(h, k)
		}
	}
	h["ce-datacontenttype"] = []string{contentType}
	rest := more{Tags: r.Meta.Tags}
	for k, v := range r.Meta.Ext {
		if !attribute(k) || h["ce-"+k] != nil || reserved[k] {
			if rest.Ext == nil {
				rest.Ext = make(map[string]string)
			}
			rest.Ext[k] = v
			continue
		}
		h["ce-"+k] = []string{escape(v)}
	}
	if rest.Tags != nil || rest.Ext != nil {
		j, err := json.Marshal(rest)
		if err != nil {
			return nil, fmt.Errorf("natsbus: metadata of position %d: %w", r.Position, err)
		}
		h["ce-cleavemeta"] = []string{escape(string(j))}
	}
	return &nats.Msg{Subject: ingest(service) + bus.Subject(service, r), Header: h, Data: r.Data}, nil
}

// place returns where in service's table a message belongs; errForeign when it
// belongs to no table of that service.
func place(service string, h nats.Header, seq uint64) (bus.Place, error) {
	source := h.Get("ce-source")
	epoch, ok := sourceEpoch(service, source)
	p, err := strconv.ParseUint(h.Get("ce-sequence"), 10, 64)
	if !ok || epoch == "" || err != nil || p == 0 || h.Get(msgID) != messageID(source, event.Position(p)) {
		return bus.Place{}, errForeign
	}
	return bus.Place{Epoch: epoch, Position: event.Position(p), Seq: seq}, nil
}

// decode reads what encode wrote. A message of nobody's table is errForeign;
// another error is a message of the table that cannot be read.
func decode(service, subject string, h nats.Header, data []byte, seq uint64) (bus.Message, error) {
	at, err := place(service, h, seq)
	if err != nil {
		return bus.Message{}, err
	}
	get := func(name string) string { return unescape(h.Get("ce-" + name)) }
	m := bus.Message{Subject: subject, Source: service, Place: at, Record: event.Record{
		Type: get("type"), Position: at.Position, Data: data,
		Meta: event.Meta{
			Correlation: get("correlationid"), Causation: get("causationid"),
			Tenant: get("tenant"), Actor: get("actor"), TraceParent: get("traceparent"),
		},
	}}
	var errs [4]error
	m.ID, errs[0] = event.ParseID(h.Get("ce-id"))
	m.Time, errs[1] = time.Parse(time.RFC3339Nano, h.Get("ce-time"))
	m.Version, errs[2] = strconv.ParseUint(h.Get("ce-streamversion"), 10, 64)
	schema := h.Get("ce-dataschema")
	m.Schema, errs[3] = strconv.Atoi(schema[strings.LastIndexByte(schema, ':')+1:])
	m.Stream.Category = get("streamcategory")
	id, ok := strings.CutPrefix(get("subject"), m.Stream.Category+"/")
	if err := errors.Join(errs[:]...); err != nil || !ok {
		return bus.Message{}, fmt.Errorf("natsbus: headers of %s, position %d: %w", service, at.Position,
			cmp.Or(err, errors.New("ce-subject does not begin with the category")))
	}
	m.Stream.ID = id
	return m, extend(&m.Meta, h)
}

// extend reads the tags and extensions.
func extend(meta *event.Meta, h nats.Header) error {
	var rest more
	if j := h.Get("ce-cleavemeta"); j != "" {
		if err := json.Unmarshal([]byte(unescape(j)), &rest); err != nil {
			return fmt.Errorf("natsbus: header ce-cleavemeta: %w", err)
		}
	}
	meta.Tags, meta.Ext = rest.Tags, rest.Ext
	for k, v := range h {
		name, ok := strings.CutPrefix(k, "ce-")
		if !ok || reserved[name] || len(v) == 0 {
			continue
		}
		if meta.Ext == nil {
			meta.Ext = make(map[string]string)
		}
		meta.Ext[name] = unescape(v[0])
	}
	return nil
}

// reserved are the attributes that are not extensions in Meta.Ext.
var reserved = func() map[string]bool {
	m := make(map[string]bool)
	for _, n := range []string{"specversion", "id", "source", "type", "subject", "time", "dataschema", "datacontenttype",
		"sequence", "streamversion", "streamcategory", "partitionkey", "traceparent", "correlationid", "causationid",
		"tenant", "actor", "cleavemeta"} {
		m[n] = true
	}
	return m
}()

// attribute reports whether CloudEvents allows the name.
func attribute(s string) bool {
	return s != "" && len(s) <= 64 && !slices.ContainsFunc([]byte(s), func(c byte) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9')
	})
}

// escape percent-encodes what CloudEvents does not want in a header.
func escape(s string) string {
	if !slices.ContainsFunc([]byte(s), odd) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if odd(s[i]) {
			fmt.Fprintf(&b, "%%%02X", s[i])
		} else {
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func odd(c byte) bool { return c <= ' ' || c >= 0x7f || c == '"' || c == '%' }

// unescape leaves what is not percent-encoded as it is.
func unescape(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}
