package natsbus

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/event/cloudevents"
)

const msgID = "Nats-Msg-Id"

// errForeign says that a message is not one of a service's table.
var errForeign = errors.New("natsbus: foreign message")

func messageID(source string, p event.Position) string {
	return source + "#" + strconv.FormatUint(uint64(p), 10)
}

// encode returns r as it is published by service, under its ingest prefix: a
// CloudEvent in binary mode.
func encode(prefix, service, epoch string, r event.Record) (*nats.Msg, error) {
	source := cloudevents.Source(service, epoch)
	h := make(nats.Header, 24)
	values := make([]string, 0, 24) // one array under all headers
	var set func(name, value string)
	set = func(name, value string) {
		if name == "content-type" { // the binding for NATS has it among the attributes
			set("ce-datacontenttype", value)
		}
		values = append(values, value)
		h[name] = values[len(values)-1:]
	}
	set(msgID, messageID(source, r.Position))
	if err := cloudevents.SetHeaders(cloudevents.Event{Source: source, Record: r}, set); err != nil {
		return nil, fmt.Errorf("natsbus: position %d: %w", r.Position, err)
	}
	return &nats.Msg{Subject: prefix + bus.Subject(service, r), Header: h, Data: r.Data}, nil
}

// place returns where in service's table a message belongs; errForeign when it
// belongs to no table of that service.
func place(service string, h nats.Header, seq uint64) (bus.Place, error) {
	source := h.Get("ce-source")
	epoch, ok := cloudevents.Epoch(service, source)
	p, err := strconv.ParseUint(h.Get("ce-sequence"), 10, 64)
	if !ok || err != nil || p == 0 || h.Get(msgID) != messageID(source, event.Position(p)) {
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
	e, err := cloudevents.FromHeaders(h, data)
	if err == nil {
		err = e.Recorded()
	}
	if err != nil {
		return bus.Message{}, fmt.Errorf("natsbus: message of %s, position %d: %w", service, at.Position, err)
	}
	return bus.Message{Subject: subject, Source: service, Place: at, Record: e.Record}, nil
}
