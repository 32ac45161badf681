// Package eventsource stores an aggregate as its events and rebuilds its state
// from them.
//
//	var Decider = eventsource.Decider[State, Command, Event]{
//		Category: "order", Codec: Codec, Evolve: evolve, Decide: decide,
//	}
//	orders := eventsource.NewRepository(sqlstore.New(db), Decider)
//	commit, err := orders.Handle(ctx, id, Place{Restaurant: "ajanta"})
//
// # Guarantees
//
//   - A stream's versions are 1, 2, 3…; of two appends that expect the same
//     version exactly one succeeds, and the other gets a *ConflictError.
//   - An append writes all its records or none. Appending the same IDs again
//     writes nothing and gives the first answer.
//   - A feed yields every record once, in the order of commits; those of one
//     stream in order of version. Nothing is missed at its live end.
//   - In(tx) reads and writes inside the caller's transaction.
//   - Handle decides on the newest state, and again after a conflict.
//   - A snapshot is never wrong, at most missing: it is written after the append,
//     or in the caller's transaction, with its schema, and not used by code of
//     another. What an idempotent command did is found behind it.
//   - An aggregate whose past is truncated is loaded from a snapshot or from an
//     event that Begins, or not at all: the error is a *TruncatedError.
//   - Data comes back byte by byte, Meta as it was.
//
// # What the caller owes
//
// Evolve and Decide are pure: they may be called any number of times. Evolve
// accepts every event that was ever recorded. Positions compare only within one
// Epoch.
//
// Snapshot.Schema rises when Evolve or the state changes. A stream is purged
// only when every relay and view is past it; raise the schema of snapshots that
// purged streams need with care: they cannot be made again.
//
// When Handle fails with ErrConflict, four attempts met other writers: answer
// the user so, or split the aggregate. An error of Decide comes back as it is.
//
// # Debugging
//
// Read shows what happened to one aggregate, Feed what happened to all, LoadAt
// what an aggregate was at a version or a time.
//
// # Testing
//
// eventsourcetest.For tests a decider: given events, when a command, then
// events. eventsourcetest.SnapshotEquals fails when Evolve changed and the
// snapshot's schema did not. memstore stands in for a database. eventsourcetest.Run is the suite
// that every Store passes.
package eventsource
