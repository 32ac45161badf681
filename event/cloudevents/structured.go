package cloudevents

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cleave-go/cleave/event"
)

// ContentType is that of an event in structured mode.
const ContentType = "application/cloudevents+json"

// maxText bounds what Unmarshal reads: the biggest data in base64, attributes,
// and some white space.
const maxText = 2*event.MaxData + 8*event.MaxMeta

// Marshal returns e in structured mode. Data that is no JSON goes as base64.
func Marshal(e Event) ([]byte, error) {
	attributes, err := e.attributes()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Grow(512 + len(e.Data))
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	put := func(name string, value any) {
		if b.Len() > 0 {
			b.WriteByte(',')
		} else {
			b.WriteByte('{')
		}
		b.WriteString(`"` + name + `":`)
		err = enc.Encode(value)
		b.Truncate(b.Len() - 1) // Encode ends the line
	}
	foreign := false
	for name, value := range attributes {
		foreign = foreign || name == headers[datacontenttype] && value != jsonType
		if put(name[len(prefix):], value); err != nil {
			return nil, fmt.Errorf("cloudevents: attribute %s of %s: %w", name, e.ID, err)
		}
	}
	switch {
	case len(e.Data) == 0:
	case foreign || !json.Valid(e.Data):
		put("data_base64", []byte(e.Data))
	default:
		put("data", e.Data)
	}
	if err != nil {
		return nil, fmt.Errorf("cloudevents: data of %s: %w", e.ID, err)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Unmarshal reads an event in structured mode.
func Unmarshal(text []byte) (Event, error) {
	if len(text) > maxText {
		return Event{}, fmt.Errorf("cloudevents: the event has %d bytes, at most %d are read", len(text), maxText)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return Event{}, fmt.Errorf("cloudevents: not a JSON object: %w", err)
	}
	inline, encoded := members["data"], members["data_base64"]
	delete(members, "data")
	delete(members, "data_base64")
	var a attributes
	for name, raw := range members {
		value, err := scalar(raw)
		if err == nil && value != "" {
			err = a.set(name, value)
		}
		if err != nil {
			return Event{}, fmt.Errorf("cloudevents: attribute %q: %w", name, err)
		}
	}
	content, err := content(a.known[datacontenttype], inline, encoded)
	if err != nil {
		return Event{}, err
	}
	return read(&a, content)
}

// scalar returns an attribute as text: a string, an integer, a boolean; null is
// none.
func scalar(raw json.RawMessage) (string, error) {
	switch raw[0] {
	case '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	case '{', '[':
		return "", fmt.Errorf("want a text, a number or a boolean, not %.20s", raw)
	case 'n':
		return "", nil
	}
	return string(raw), nil
}

// content returns the data's bytes.
func content(contentType string, inline, encoded json.RawMessage) ([]byte, error) {
	switch {
	case inline != nil && encoded != nil:
		return nil, fmt.Errorf("cloudevents: data and data_base64 are both there")
	case encoded != nil:
		var data []byte
		if encoded[0] != '"' {
			return nil, fmt.Errorf("cloudevents: data_base64: want a text")
		}
		if err := json.Unmarshal(encoded, &data); err != nil {
			return nil, fmt.Errorf("cloudevents: data_base64: %w", err)
		}
		return data, nil
	case inline != nil && inline[0] == '"' && !isJSON(contentType):
		var text string
		if err := json.Unmarshal(inline, &text); err != nil {
			return nil, fmt.Errorf("cloudevents: data: %w", err)
		}
		return []byte(text), nil
	}
	return []byte(strings.TrimSpace(string(inline))), nil
}
