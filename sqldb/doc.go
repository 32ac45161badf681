// Package sqldb is the one way to a service's own database, a file of SQLite or
// a database of PostgreSQL (15 or newer): Update writes, View and the query
// methods read, Migrate creates the tables.
//
//	db, err := sqldb.Open(ctx, "sqlite:data/order.db", nil) // or "postgres://order@db.internal/order"
//	err = db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
//		_, err := tx.ExecContext(ctx, "UPDATE account SET balance = balance - ? WHERE id = ?", 5, id)
//		return err
//	})
//
// Queries mark arguments with ?, or all with ?1, ?2 and so on, for both.
// PostgreSQL's operator ? is written ??.
//
// The root module links no driver: import modernc.org/sqlite and
// github.com/jackc/pgx/v5/stdlib, or package kit, which does.
//
// # Guarantees
//
//   - What Update's functions do is as if they ran one behind the other, and
//     Update returns nil only after a commit that survives power loss.
//   - What a function wrote is undone when it returns an error, panics or ends
//     its goroutine; no other function is affected.
//   - On SQLite a function runs once, alone among all writers of the file.
//     Callers that wait at the same time share one commit: a function may run on
//     another goroutine while its caller waits; its panic is its caller's.
//   - On PostgreSQL functions run beside each other, SERIALIZABLE. One that
//     others thwart (SQLSTATE 40001 and 40P01, and 23505 twice) is undone and run
//     again, for Options.BusyTimeout; and fewer of this process run at a time, one
//     if need be, until that succeeds.
//   - A context that ends while Update still waits means that the function did
//     not run. Once it runs, further statements are refused, and the commit is
//     never interrupted. On SQLite no statement is either.
//   - View sees one snapshot. Readers never wait for writers.
//   - Several processes may open one database. Migrate runs each script once
//     among them. AwaitCommit notices their commits within 50 ms on SQLite, within
//     a second on PostgreSQL, where it looks ten times a second at first and
//     less often the longer nothing happens.
//   - On PostgreSQL nothing is kept in a session, so a pooler may give each
//     transaction another one (PgBouncer with pool_mode=transaction). No
//     extension, trigger, LISTEN or superuser is needed.
//
// # What the caller owes
//
// Functions given to Update are short, use their tx from one goroutine, have
// effects through it only, and do not call Update of the same database (that is
// ErrNested). They scan each Row they ask for. On SQLite deferred foreign keys
// are checked at the shared commit, so a violated one fails its neighbours too:
// declare them immediate, the default. On PostgreSQL a statement that fails ends
// the transaction: put it in Savepoint to go on; and rows that are still open
// when the next statement comes are kept in memory. Times are stored as given;
// keep them in UTC, or as integers.
//
// # When something fails
//
// When another process holds the file's write lock, or another transaction of
// PostgreSQL a row's, for longer than Options.BusyTimeout, the waiting calls fail
// with the database's error and nothing written. A full disk or an I/O error
// fails all that shared the transaction. A connection lost in COMMIT leaves open
// whether it was done; the error says so. The next Update starts afresh.
//
// # Debugging
//
// An SQLite database is one file in WAL mode: open it with the sqlite3 shell. The
// table schema_migration lists the scripts that ran. SQL returns the handle
// beneath. A PostgreSQL server should have idle_in_transaction_session_timeout
// set, for processes that are cut off inside a transaction. Size its
// max_connections, or a pooler's, for Options.Readers and Writers of all
// processes. The URL takes what pgx takes (sslmode=verify-full, for one);
// default_query_exec_mode is cache_describe unless it says otherwise.
//
// # Testing
//
// Open a file in t.TempDir: it takes milliseconds, and behaves as in production.
package sqldb
