// Package event is the vocabulary of domain events: what happened, where, why.
//
// A service says what happened as values of a sealed interface, in the past
// participle, made of primitive types and value objects. A Codec names them on
// the wire; an Envelope tells the rest: which event, of which stream, when, and
// what it belongs to.
//
//	type Event interface{ orderEvent() }
//	type Placed struct{ Restaurant string; Total int64 }
//
//	var Codec = event.NewCodec[Event](
//		event.Of[Placed]("order.placed", 2, event.Up(1, func(o placedV1) Placed { … })),
//	)
//
// # Guarantees
//
//   - NewID ascends within a process, even when the clock is set back. DeriveID
//     gives the same ID for the same input, for ever.
//   - A codec that exists is sound: each kind implements the interface, names
//     and types are unique, upcasters lead step by step to the present schema.
//   - Decode gives today's Go type for data of every schema that has upcasters.
//   - A Token keeps the higher position of each source, has at most 1,024
//     characters, and ParseToken takes any input.
//   - Nothing outside the standard library is imported.
//
// # What the caller owes
//
// A type that was recorded stays as it is. Adding a field that may be missing
// is fine; anything else raises the schema and adds an Up from the old type.
//
// Decode returns ErrUnknownType for a type that the codec does not name and
// ErrUnknownSchema for a newer schema: during a roll-out, the release next door
// may have written it.
//
// # Debugging
//
// Record data is JSON. IDs made by NewID hold their time of making in the first
// twelve digits.
//
// # Testing
//
// Events are plain values: compare them. The analyzer tools/sealedswitch finds
// type switches and codecs that forget one. eventtest.Frozen fails when a
// recorded type was edited in place. eventsourcetest tests decisions by
// given events, a command, and the events it should make.
package event
