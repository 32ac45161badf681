// Package natsbus is the bus of a system of many processes, over NATS
// JetStream. Each source has one stream, OUT_<service>, a copy of the end of
// its event table: 7 days or 1 GiB. The table stays the truth; the stream's
// last message is the checkpoint of whoever publishes.
//
//	b, err := natsbus.Connect(ctx, os.Getenv("NATS_URL"), nil)
//	defer b.Close()
//	go b.Publish(ctx, source)
//	for m, err := range b.Subscribe(ctx, bus.Filter{Source: "order"}, place) { … }
//
// # Guarantees
//
//   - A stream holds each position of its table once and in ascending order,
//     however many publish it, and through crashes of publisher and broker:
//     each message names the id of the one before it, and the broker refuses it
//     behind any other. Who is refused looks at the end of the stream and goes
//     on from there.
//   - A tail that the broker lost, acknowledged or not, is published again.
//     When the whole stream was lost, the whole table is.
//   - A table that is behind its stream, has other events than it, or is of an
//     epoch that did not follow the stream's, is not published: ErrAhead. One
//     that goes on in a new epoch is published from where that begins.
//   - A subscriber misses nothing that was removed from the stream before it came
//     or while it was slow, where there is a Feed.
//   - A subscriber's place is a position. The stream sequence in it is a hint
//     that is checked, so a stream that was cut back and filled again loses and
//     repeats nothing.
//   - Connections, consumers and streams that go away are made again, for ever.
//
// # On the wire
//
// A message is published to out.<service>.<subject>, which only the service
// needs permission for; the stream stores it, and consumers see it, under
// <subject> (see bus.Subject). It is a CloudEvent in binary mode: ce-id, ce-type,
// ce-source "/<service>/<epoch>", ce-subject the stream, ce-sequence the
// position in 20 digits, ce-streamcategory, ce-streamversion, ce-dataschema
// "urn:cleave:schema:<type>:<number>", ce-partitionkey, ce-time,
// ce-traceparent, ce-correlationid, ce-causationid, ce-tenant, ce-actor, the
// extensions in Meta.Ext under their names, and ce-cleavemeta with what has no
// place elsewhere, as JSON. Values are percent-encoded as over HTTP.
// Nats-Msg-Id is "<ce-source>#<position>".
//
// # What the caller owes
//
// Subscribers that fall behind the stream's retention read what it holds no more
// from the owner's table, through Options.Feed; without one they get bus.ErrGone
// rather than messages with a hole. Package service sets it.
// Nobody else should publish to out.<service>; a foreign message there is
// skipped by subscribers and costs the publisher one look at the stream.
//
// # Debugging
//
// "nats stream view OUT_order" shows the messages, Options.Logger at level
// debug each fence and each new consumer. Conn is the connection beneath.
//
// # Testing
//
// Run package platform/messaging on a temporary folder. Code that takes a
// bus.Bus is tested with membus.
package natsbus
