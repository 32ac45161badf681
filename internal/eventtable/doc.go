// Package eventtable holds the tables and the SQL that the event store, the
// outbox and their readers share.
//
// # Guarantees
//
// What Append wrote has ascending positions in commit order, and versions
// without a hole in each stream. A failed Append leaves nothing behind, even in
// a transaction that goes on. On SQLite positions have no holes.
//
// # What the caller owes
//
// Writes happen inside sqldb's Update. Setup ran before.
//
// # Debugging
//
// The tables are plain: es_event in order of position is all that happened.
//
// # Testing
//
// The package is tested through sqlstore and outbox.
package eventtable
