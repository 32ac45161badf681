package pact

import (
	"github.com/cleave-go/cleave/contract/internal/match"
)

// File is a Pact file.
type File struct {
	Name         string // of the file, for messages
	Consumer     string
	Provider     string
	Version      int // of the specification: 1 to 4
	Interactions []Interaction
	Metadata     map[string]any
}

// The types of interactions.
const (
	HTTP    = "Synchronous/HTTP"
	Event   = "Asynchronous/Messages"
	Command = "Synchronous/Messages"
)

// Interaction is one example that both sides keep to.
type Interaction struct {
	Type        string
	Description string
	States      []State
	Test        string // that recorded it

	Request  *Request  // of HTTP
	Response *Response // of HTTP
	Message  *Message  // the event, or the command
	Replies  []Message // to the command

	Pending     bool   // failing does not count
	Descriptors string // of the protobuf messages of a call, if the writer recorded them
}

// State is what holds at the provider before.
type State struct {
	Name   string
	Params map[string]any
}

// Request is an HTTP request.
type Request struct {
	Method  string
	Path    string
	Query   map[string][]string
	Headers map[string][]string
	Body    Body
	Rules   match.Rules
}

// Response is an HTTP response.
type Response struct {
	Status  int // 0: any
	Headers map[string][]string
	Body    Body
	Rules   match.Rules
}

// Message is contents with metadata.
type Message struct {
	Body     Body
	Metadata map[string]any
	Rules    match.Rules
}

// Body is a body as far as a contract can tell: there may be none, in which
// case nothing is expected of it; it may be empty; else it is JSON or bytes.
type Body struct {
	Kind  BodyKind
	Type  string // content type, "" when unknown
	Value any    // of JSON
	Bytes []byte // of Raw
}

// BodyKind says what a Body is.
type BodyKind uint8

// The kinds of bodies.
const (
	Missing BodyKind = iota
	Empty
	JSON
	Raw
)

// NewBody returns the body that data is. Data without a content type is JSON if
// it can be read as that.
func NewBody(contentType string, data []byte) Body {
	b := Body{Kind: Raw, Type: contentType, Bytes: data}
	switch {
	case len(data) == 0:
		return Body{Kind: Empty, Type: contentType}
	case contentType == "" || match.IsJSON(contentType):
		if v, err := match.Decode(data); err == nil {
			b.Kind, b.Value = JSON, v
		}
	}
	return b
}

// Data returns the body's bytes.
func (b Body) Data() []byte {
	if b.Kind == JSON {
		data, _ := match.Encode(b.Value, "") // what was decoded can be encoded
		return data
	}
	return b.Bytes
}
