// Package memstore keeps events in memory: for tests and for a first look.
//
//	st := memstore.New()
//	orders := eventsource.NewRepository(st, order.Decider)
//
// # Guarantees
//
// Those of eventsource.Store, but nothing outlives the process. It passes the
// same suite as the stores on disk. Waiting feeds work in testing/synctest.
//
// # What the caller owes
//
// In takes only a transaction that Update of the same store has given out; with
// another, every call answers an error. Such a transaction runs no SQL. Inside
// Update, write through In(tx) only: Append of the store itself would wait for
// that very transaction.
//
// # When something fails
//
// Update undoes what was appended when its function fails or panics.
//
// # Debugging
//
// Feed shows all there is.
//
// # Testing
//
// It is made for tests: no set-up, no files, nothing to close.
package memstore
