package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// postgres is a database on a server. It keeps no state in sessions, so that a
// pooler may give each transaction another one.
type postgres struct {
	db      *DB
	conns   *sql.DB
	replay  *sql.DB // of openRows
	gate    *gate   // of Update
	singles *gate   // of Write
	busy    time.Duration
	queries placeholders
}

func openPostgres(ctx context.Context, db *DB, dsn string, o Options) error {
	conns, err := sql.Open("pgx", dsn)
	if err != nil {
		if !hasDriver("pgx") {
			return fmt.Errorf("sqldb: %w (import github.com/jackc/pgx/v5/stdlib, or package kit, which does)", err)
		}
		return fmt.Errorf("sqldb: the database URL: %w", err)
	}
	e := &postgres{db: db, conns: conns, replay: sql.OpenDB(replay{}), gate: newGate(o.Writers, o.MaxWaiting), singles: newGate(o.Writers, o.MaxWaiting), busy: o.BusyTimeout}
	// A transaction that writes may also read beside it: connections for
	// readers are left however many write.
	conns.SetMaxOpenConns(o.Readers + 2*o.Writers + 1) // one looks for foreign commits
	conns.SetMaxIdleConns(o.Readers + 2*o.Writers + 1)
	conns.SetConnMaxIdleTime(time.Minute)
	err = e.check(ctx)
	if err == nil {
		err = db.commits.open(ctx, &snapshotWatcher{conns: conns}, 100*time.Millisecond, 800*time.Millisecond)
	}
	if err != nil {
		e.disconnect()
		return fmt.Errorf("sqldb: open PostgreSQL: %w", err)
	}
	db.engine = e
	return nil
}

func hasDriver(name string) bool {
	for _, d := range sql.Drivers() {
		if d == name {
			return true
		}
	}
	return false
}

// check refuses a server that promises less than this package does.
func (e *postgres) check(ctx context.Context) error {
	var version, encoding string
	var number int
	err := e.conns.QueryRowContext(ctx, `SELECT current_setting('server_version'), current_setting('server_version_num')::int,
		current_setting('server_encoding')`).Scan(&version, &number, &encoding)
	switch {
	case err != nil:
		return err
	case number < 150_000:
		return fmt.Errorf("the server is version %s: 15 or newer is needed", version)
	case encoding != "UTF8":
		return fmt.Errorf("the database keeps text as %s: create it with ENCODING 'UTF8'", encoding)
	}
	return nil
}

func (e *postgres) dialect() Dialect  { return PostgreSQL }
func (e *postgres) pool() *sql.DB     { return e.conns }
func (e *postgres) waiting() int      { return e.gate.count() }
func (e *postgres) isClosed() bool    { return e.gate.isClosed() }
func (e *postgres) disconnect() error { return errors.Join(e.conns.Close(), e.replay.Close()) }

func (e *postgres) close() bool {
	first := e.gate.close()
	e.singles.close()
	return first
}

func (e *postgres) view(ctx context.Context, f func(context.Context, Tx) error) error {
	conn, err := e.begin(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
	if err != nil {
		return readError(e, err)
	}
	tx := &postgresTx{e: e, conn: conn}
	defer func() {
		tx.end()
		rollback(conn)
	}()
	return f(ctx, tx)
}

func (e *postgres) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	if err := checkReads(query); err != nil {
		return nil, err
	}
	return e.conns.QueryContext(ctx, e.queries.numbered(query), args...)
}

func (e *postgres) queryRow(ctx context.Context, query string, args []any) *sql.Row {
	if err := checkReads(query); err != nil {
		return rowOf(err)
	}
	return e.conns.QueryRowContext(ctx, e.queries.numbered(query), args...)
}

func (e *postgres) write(ctx context.Context, query string, args []any, scan func(*sql.Rows) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := e.singles.enter(ctx, false); err != nil {
		return err
	}
	defer e.singles.leave(false)
	rows, err := e.conns.QueryContext(ctx, e.queries.numbered(query), args...)
	if err != nil {
		return err
	}
	scanned, err := scanAll(rows, scan)
	if err == nil {
		e.db.commits.add()
	}
	return errors.Join(err, scanned)
}

// checkReads refuses the plain mistake: a session that only reads is not to be
// had from a pooler.
func checkReads(query string) error {
	switch word := firstWord(query); word {
	case "INSERT", "UPDATE", "DELETE", "MERGE", "TRUNCATE", "CREATE", "ALTER", "DROP":
		return fmt.Errorf("sqldb: %s writes: use Update", word)
	}
	return nil
}

// snapshotWatcher notices that some transaction of the server that writes began
// or ended.
type snapshotWatcher struct {
	conns *sql.DB
	last  string
}

func (w *snapshotWatcher) moved(ctx context.Context) (bool, error) {
	var now string
	if err := w.conns.QueryRowContext(ctx, "SELECT pg_current_snapshot()::text").Scan(&now); err != nil {
		return false, err
	}
	moved := now != w.last
	w.last = now
	return moved, nil
}

func (w *snapshotWatcher) close() {}
