package natsbus

import (
	"github.com/nats-io/nats.go"

	"github.com/cleave-go/cleave/event"
)

// What the tests of the wire format need.
var Decode = decode

func Encode(service, epoch string, r event.Record) (*nats.Msg, error) {
	return encode(ingest(service), service, epoch, r)
}

var ErrForeign = errForeign
