// Package sqlstore keeps events in a service's own database, beside its other
// tables and in their transactions.
//
//	err := sqlstore.Setup(ctx, db)
//	orders := eventsource.NewRepository(sqlstore.New(db), order.Decider)
//
// # Guarantees
//
// Those of eventsource.Store, for all handles and processes that share the
// database: an append is durable when it returns, a live feed misses nothing,
// shows no stream's events out of order, and sees another process's within 50 ms
// on SQLite, within a second on PostgreSQL.
//
// On SQLite positions ascend in commit order and have no holes. On PostgreSQL an
// append is one statement and one round trip, and what callers append to
// different streams at the same time is one statement for all of them, in which
// each succeeds or fails alone. A conflict uses no position; an append that is
// undone leaves a hole. A feed waits at a position that an open transaction
// holds, and logs which one if that lasts for more than a second; whatever other
// transactions of the server are open does not hold it back.
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
// Look into es_event with the sqlite3 shell or psql (there is a view
// es_event_text for it), in order of position. Rows of the category $gap stand
// for positions that nothing was recorded at.
//
// # Testing
//
// Decisions are tested with eventsourcetest.For, code over a store with
// memstore; eventsourcetest.Run passes on both.
package sqlstore
