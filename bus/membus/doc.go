// Package membus is the bus of a system that runs in one process. It copies
// nothing: a subscriber reads the source's own event table, so a message is
// there for as long as the table holds it, and a crash of the process loses
// none.
//
//	b := membus.New()
//	go b.Publish(ctx, source) // a relay does this
//	for m, err := range b.Subscribe(ctx, bus.Filter{Source: "order"}, place) { … }
//
// # Guarantees
//
//   - Every subscriber gets every record that its filter matches, in order of
//     position, once per subscription.
//   - A subscriber may come before its source is published; it waits.
//   - While nobody publishes a source, its subscribers get nothing.
//
// # What the caller owes
//
// Several publishers of one name must be over the same table. A subscriber
// whose place is in another epoch than the table gets the table from the
// beginning; one whose place is behind the table's end, in the same epoch, gets
// ErrAhead: the table was restored from an older copy.
//
// # Debugging
//
// There is no broker to look at: what a subscriber will get is the rows of the
// source's event table behind its place.
//
// # Testing
//
// bustest.Run holds every bus to the same suite; bustest.Table is a source to
// publish in tests.
package membus
