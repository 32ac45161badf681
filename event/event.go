package event

import (
	"encoding/json"
	"hash/fnv"
	"time"
)

// Position is an event's place in its service's table: store-wide, ascending
// from 1 in commit order. 0 means not recorded.
type Position uint64

// Stream names one aggregate's events, or the messages of one conversation.
type Stream struct {
	Category string // "order"; "$cmd.kitchen" and "$rpl.order" carry commands and replies
	ID       string
}

// String returns "category/id".
func (s Stream) String() string { return s.Category + "/" + s.ID }

// Lanes is the fixed number of lanes that streams are spread over on the bus.
const Lanes = 64

// Lane returns the stream's lane, 0 to Lanes-1: FNV-1a of its String. All
// messages of a stream travel in one lane.
func (s Stream) Lane() int {
	h := fnv.New64a()
	h.Write([]byte(s.String()))
	return int(h.Sum64() % Lanes)
}

// Meta is everything about an event that is not its data.
type Meta struct {
	Correlation string            `json:"correlation,omitempty"` // the request or saga that it belongs to
	Causation   string            `json:"causation,omitempty"`   // the id of the message it answers
	Tenant      string            `json:"tenant,omitempty"`
	Actor       string            `json:"actor,omitempty"` // who asked, for information only
	TraceParent string            `json:"traceparent,omitempty"`
	Tags        []string          `json:"tags,omitempty"`
	Ext         map[string]string `json:"ext,omitempty"`
}

// Envelope is one recorded event; E is the sealed interface of its category or
// a concrete type.
type Envelope[E any] struct {
	ID       ID
	Stream   Stream
	Version  uint64 // in the stream, from 1
	Position Position
	Type     string // "order.placed"
	Schema   int    // of the data, from 1
	Time     time.Time
	Meta     Meta
	Data     E
}

// Record is an Envelope before decoding. To append one, set ID, Type, Schema,
// Meta and Data; the store sets the rest.
type Record = Envelope[json.RawMessage]
