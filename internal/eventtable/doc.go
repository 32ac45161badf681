// Package eventtable holds the tables and the SQL that the event store, the
// outbox and their readers share.
//
// # Guarantees
//
// What Append wrote has ascending positions and versions without a hole in each
// stream. A failed Append leaves nothing behind, even in a transaction that goes
// on. LiveFeed yields every record once, in the order of positions, and passes
// over no position that may be used yet.
//
// On SQLite positions ascend in commit order and have no holes. On PostgreSQL
// they are drawn from a sequence before the commit, so a lower one may come
// later, or never. LiveFeed walks them one by one and seals a hole before it
// passes over it: it inserts a row there, which waits for the transaction that
// holds the position, and for no other; if that is undone, the row ($gap) stands
// in its place for good. There is no timeout to guess, no list of transactions
// to compare, and nothing that another database of the server holds back.
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
