// Package cloudevents writes recorded events as CloudEvents 1.0 and reads those
// of others: structured mode as JSON, and binary mode in the headers of HTTP or
// NATS. What leaves a service over natsbus is such an event already.
//
//	text, err := cloudevents.Marshal(cloudevents.Event{Source: cloudevents.Source("order", epoch), Record: rec})
//	e, err := cloudevents.Read(request.Header, body)
//
// # Guarantees
//
//   - What is written is valid CloudEvents 1.0, which the Go SDK reads, and comes
//     back equal, but for white space within JSON data in structured mode.
//   - Position, version, stream, schema, correlation, causation, tenant, actor
//     and trace travel as attributes: sequence, streamversion, streamcategory with
//     subject, dataschema, correlationid, causationid, tenant, actor, traceparent.
//   - Nothing of a foreign event is lost: attributes without a place in a Record
//     are in Meta.Ext.
//   - Any input is read or refused with an error, and bounded.
//
// # What the caller owes
//
// A foreign event has no stream, version or position: Event.Recorded says so.
// Whoever keeps it gives it a stream (outbox.Add does). An id that is no UUID
// becomes an ID derived from source and id, so the same event has the same ID
// again, and stays in Meta.Ext under "ceid".
//
// # Debugging
//
// Errors name the attribute.
//
// # Testing
//
// The conformance module has the official Go SDK read and write over HTTP and
// NATS.
package cloudevents
