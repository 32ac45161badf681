// Package eventsourcetest tests deciders and stores.
//
// A decision reads as a sentence: given what happened, when this is asked, then
// that happens.
//
//	spec := eventsourcetest.For(t, order.Decider)
//	spec.Given(Placed{}).When(Approve{}).Then(Approved{})
//	spec.Given().When(Approve{}).ThenError(ErrState)
//
// # Guarantees
//
// A Store that passes Run keeps what eventsource.Store promises: each promise
// has a case with a sentence for a name. SnapshotEquals fails when Evolve or the
// state changed and the snapshot's schema did not.
//
// # What the caller owes
//
// Run needs a function that opens an empty store for each case. If the store
// can be opened twice, Backend.Other makes the suite prove that both see the
// same.
//
// # When something fails
//
// A failing case says what it wanted and what it got, as JSON for events.
//
// # Debugging
//
// Run a single case with -run and its sentence, underscores for spaces.
//
// # Testing
//
// The suite runs on memstore, and in the conformance module on SQLite with one
// and two handles and on PostgreSQL, directly and through PgBouncer.
package eventsourcetest
