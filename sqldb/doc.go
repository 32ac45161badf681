// Package sqldb is the one way to a service's own database: Update writes,
// View and the query methods read, Migrate creates the tables.
//
//	db, err := sqldb.Open(ctx, "sqlite:data/order.db", nil)
//	err = db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
//		_, err := tx.ExecContext(ctx, "UPDATE account SET balance = balance - ? WHERE id = ?", 5, id)
//		return err
//	})
//
// The root module links no driver: import modernc.org/sqlite (package kit does)
// so that a driver with the name "sqlite" exists.
//
// # Guarantees
//
//   - Update runs its function once, alone among all writers of the file, and
//     returns nil only after a commit that survives power loss.
//   - What a function wrote is undone when it returns an error, panics or ends
//     its goroutine; functions that share its commit are not affected.
//   - Callers that wait at the same time share one commit. A function may run on
//     another goroutine while its caller waits; its panic is its caller's.
//   - A context that ends while Update still waits means that the function did
//     not run. Once it runs, statements are refused and never interrupted
//     half way.
//   - View sees one snapshot. Readers never wait for writers.
//   - Several processes may open one file. Migrate runs each script once among
//     them, and AwaitCommit notices their commits within 50 ms.
//
// # What the caller owes
//
// Functions given to Update are short, use their tx from one goroutine, and do
// not call Update of the same database (that is ErrNested). They scan each Row
// they ask for. Deferred foreign keys are checked at the shared commit, so a
// violated one fails its neighbours too: declare them immediate, the default.
// Times are stored as given; keep them in UTC, or as integers.
//
// # When something fails
//
// When another process holds the write lock for longer than
// Options.BusyTimeout, the waiting calls fail with SQLite's busy error and
// nothing written. A full disk or an I/O error fails all that shared the
// transaction. The next Update starts afresh.
//
// # Debugging
//
// The file is plain SQLite in WAL mode: open it with the sqlite3 shell. The
// table schema_migration lists the scripts that ran. SQL returns the handle
// beneath.
//
// # Testing
//
// Open a file in t.TempDir: it takes milliseconds, and behaves as in production.
package sqldb
