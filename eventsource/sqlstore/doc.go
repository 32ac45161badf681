// Package sqlstore keeps events in a service's own database, beside its other
// tables and in their transactions.
//
//	err := sqlstore.Setup(ctx, db)
//	orders := eventsource.NewRepository(sqlstore.New(db), order.Decider)
//
// # Guarantees
//
// Those of eventsource.Store, for all handles and processes that share the
// file: an append is durable when it returns, positions ascend in commit order
// and have no holes, a live feed misses nothing and sees another process's
// events within 50 ms.
//
// # What the caller owes
//
// Setup runs before the first use; it may run again, at the same time too.
// Inside db.Update use In(tx): the store itself would wait for that very
// transaction.
//
// # When something fails
//
// Errors are those of sqldb, with what was tried in front. A failed append left
// nothing behind.
//
// # Debugging
//
// Look into es_event with the sqlite3 shell, in order of position.
//
// # Testing
//
// Decisions are tested with eventsourcetest.For, code over a store with
// memstore; eventsourcetest.Run passes on both.
package sqlstore
