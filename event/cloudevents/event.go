package cloudevents

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/cleave-go/cleave/event"
)

// Event is a record with the source that made it.
type Event struct {
	Source string
	event.Record

	foreign error
}

// ErrForeign is what Event.Recorded wraps.
var ErrForeign = errors.New("cloudevents: not an event of a service's table")

// Recorded reports, for an event that was read, what a record of a service's
// table has and this one has not. The error wraps ErrForeign.
func (e *Event) Recorded() error { return e.foreign }

// Source is the source of the events of a service's table. An epoch is the
// table's incarnation, within which positions compare.
func Source(service, epoch string) string { return "/" + url.PathEscape(service) + "/" + epoch }

// Epoch returns the epoch in a source of service.
func Epoch(service, source string) (string, bool) {
	epoch, ok := strings.CutPrefix(source, Source(service, ""))
	return epoch, ok && epoch != ""
}

const (
	jsonType  = "application/json"
	schemaURN = "urn:cleave:schema:"
)

// more is what has no place in an attribute.
type more struct {
	Tags []string          `json:"tags,omitempty"`
	Ext  map[string]string `json:"ext,omitempty"`
}

// attributes yields what is not empty, each under the name of its header.
func (e *Event) attributes() (iter.Seq2[string, string], error) {
	rest := more{Tags: e.Meta.Tags}
	ct := jsonType
	var ext []string
	for k, v := range e.Meta.Ext {
		switch {
		case k == "datacontenttype" && v != "" && !isJSON(v):
			ct = v
		case !attribute(k) || indexOf(k) != extension || v == "":
			if rest.Ext == nil {
				rest.Ext = map[string]string{}
			}
			rest.Ext[k] = v
		default:
			ext = append(ext, k)
		}
	}
	values := e.values()
	values[datacontenttype] = ct
	if rest.Tags != nil || rest.Ext != nil {
		meta, err := json.Marshal(rest)
		if err != nil {
			return nil, fmt.Errorf("cloudevents: metadata of %s: %w", e.ID, err)
		}
		values[cleavemeta] = string(meta)
	}
	slices.Sort(ext)
	return func(yield func(name, value string) bool) {
		for i, v := range values {
			if v != "" && !yield(headers[i], v) {
				return
			}
		}
		for _, k := range ext {
			if !yield(prefix+k, e.Meta.Ext[k]) {
				return
			}
		}
	}, nil
}

// values returns the attributes that are not extensions of the record's own.
func (e *Event) values() (v [extension]string) {
	v[specversion], v[id], v[source], v[typ] = "1.0", e.ID.String(), e.Source, e.Type
	if e.Stream != (event.Stream{}) {
		v[subject] = e.Stream.String()
		v[partitionkey], v[streamcategory] = v[subject], e.Stream.Category
	}
	if !e.Time.IsZero() {
		v[at] = e.Time.UTC().Format(time.RFC3339Nano)
	}
	if e.Position > 0 {
		digits := strconv.FormatUint(uint64(e.Position), 10)
		v[sequence] = "00000000000000000000"[len(digits):] + digits
	}
	if e.Version > 0 {
		v[streamversion] = strconv.FormatUint(e.Version, 10)
	}
	if e.Schema > 0 {
		v[dataschema] = schemaURN + url.PathEscape(e.Type) + ":" + strconv.Itoa(e.Schema)
	}
	v[traceparent], v[correlationid], v[causationid] = e.Meta.TraceParent, e.Meta.Correlation, e.Meta.Causation
	v[tenant], v[actor] = e.Meta.Tenant, e.Meta.Actor
	return v
}

// attributes as they were read.
type attributes struct {
	known [extension]string
	more  map[string]string
}

func (a *attributes) set(name, value string) error {
	if !attribute(name) || !utf8.ValidString(value) {
		return fmt.Errorf("cloudevents: attribute %q: want a name of small letters and digits and a text of UTF-8", name)
	}
	switch i := indexOf(name); i {
	case extension:
		if a.more == nil {
			a.more = map[string]string{}
		}
		a.more[name] = value
	case data:
	default:
		a.known[i] = value
	}
	return nil
}

// read makes an event of attributes and data.
func read(a *attributes, content []byte) (Event, error) {
	k := &a.known
	for _, i := range [...]int{id, source, typ} {
		if k[i] == "" {
			return Event{}, fmt.Errorf("cloudevents: the attribute %s is missing", headers[i][len(prefix):])
		}
	}
	if k[specversion] != "1.0" {
		return Event{}, fmt.Errorf("cloudevents: specversion is %q, only 1.0 is read", k[specversion])
	}
	if len(content) > event.MaxData {
		return Event{}, fmt.Errorf("cloudevents: the data has %d bytes, at most %d are read", len(content), event.MaxData)
	}
	e := Event{Source: k[source], Record: event.Record{Type: k[typ], Data: content, Meta: event.Meta{
		Correlation: k[correlationid], Causation: k[causationid], Tenant: k[tenant], Actor: k[actor],
		TraceParent: k[traceparent], Ext: a.more,
	}}}
	if err := e.readMore(k[cleavemeta]); err != nil {
		return Event{}, err
	}
	if k[at] != "" {
		t, err := time.Parse(time.RFC3339Nano, k[at])
		if t = t.UTC(); err != nil || t.Year() < 0 || t.Year() > 9999 {
			return Event{}, fmt.Errorf("cloudevents: the attribute time is no RFC 3339: %q", k[at])
		}
		e.Time = t
	}
	if ct := k[datacontenttype]; ct != "" && !isJSON(ct) {
		e.keep("datacontenttype", ct)
	}
	e.readPlace(k)
	return e, nil
}

func (e *Event) readMore(text string) error {
	if text == "" {
		return nil
	}
	var rest more
	if err := json.Unmarshal([]byte(text), &rest); err != nil {
		return fmt.Errorf("cloudevents: attribute cleavemeta: %w", err)
	}
	e.Meta.Tags = rest.Tags
	for k, v := range rest.Ext {
		e.keep(k, v)
	}
	return nil
}

// readPlace reads what places a record in a table, and keeps what is there and
// does not.
func (e *Event) readPlace(k *[extension]string) {
	var lacks []string
	foreign := func(i int, keepAs string) {
		lacks = append(lacks, headers[i][len(prefix):])
		if k[i] != "" {
			e.keep(keepAs, k[i])
		}
	}
	var err error
	if e.ID, err = event.ParseID(k[id]); err != nil {
		e.ID = event.DeriveID(e.Source+"\x00"+k[id], 0)
		foreign(id, "ceid")
	}
	if p, err := strconv.ParseUint(k[sequence], 10, 64); err == nil && p > 0 && len(k[sequence]) == 20 {
		e.Position = event.Position(p)
	} else {
		foreign(sequence, "sequence")
	}
	if v, err := strconv.ParseUint(k[streamversion], 10, 64); err == nil && v > 0 {
		e.Version = v
	} else {
		foreign(streamversion, "streamversion")
	}
	name, ok := strings.CutPrefix(k[subject], k[streamcategory]+"/")
	if ok && k[streamcategory] != "" && name != "" {
		e.Stream = event.Stream{Category: k[streamcategory], ID: name}
	} else {
		foreign(subject, "subject")
		if k[streamcategory] != "" {
			e.keep("streamcategory", k[streamcategory])
		}
	}
	schema, ok := strings.CutPrefix(k[dataschema], schemaURN+url.PathEscape(e.Type)+":")
	if n, err := strconv.Atoi(schema); ok && err == nil && n > 0 {
		e.Schema = n
	} else {
		e.Schema = 1
		foreign(dataschema, "dataschema")
	}
	if k[partitionkey] != "" && k[partitionkey] != k[subject] {
		e.keep("partitionkey", k[partitionkey])
	}
	if e.Time.IsZero() {
		lacks = append(lacks, "time")
	}
	if len(lacks) > 0 {
		e.foreign = fmt.Errorf("%w: attributes of another form or missing: %s", ErrForeign, strings.Join(lacks, ", "))
	}
}

func (e *Event) keep(name, value string) {
	if e.Meta.Ext == nil {
		e.Meta.Ext = map[string]string{}
	}
	e.Meta.Ext[name] = value
}

// attribute reports whether CloudEvents allows the name.
func attribute(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// isJSON reports whether data of a content type is JSON.
func isJSON(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "" || media == jsonType || media == "text/json" || strings.HasSuffix(media, "+json")
}
