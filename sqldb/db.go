package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"runtime"
	"time"
)

// ErrClosed is the answer to any use of a closed DB.
var ErrClosed = errors.New("sqldb: the database is closed")

// ErrNested says that a function running in Update called Update of the same
// database, which would wait for itself.
var ErrNested = errors.New("sqldb: Update called inside Update of the same database: use the tx at hand")

// ErrBusy says that too many callers wait in Update already.
var ErrBusy = errors.New("sqldb: too many transactions are waiting")

// Options adjust a DB. Nil and the zero value mean the defaults.
type Options struct {
	// BusyTimeout is how long to wait for others that write: for the file on
	// SQLite; for a lock, and for a transaction that nothing thwarts, on
	// PostgreSQL. Default: 10 s.
	BusyTimeout time.Duration
	// Readers is the highest number of connections that read.
	// Default: 4 for each CPU, at least 8.
	Readers int
	// Writers is the highest number of Updates at once on PostgreSQL, and of
	// Writes, each on a connection. Default: 4 for each CPU, at least 8.
	Writers int
	// MaxWaiting is the highest number of callers that wait in Update; the
	// next gets ErrBusy. Default: 10,000.
	MaxWaiting int
	// Logger is told the stack of a panic that continues in another goroutine.
	// Default: slog.Default().
	Logger *slog.Logger
}

func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if c.BusyTimeout < 0 || c.Readers < 0 || c.Writers < 0 || c.MaxWaiting < 0 {
		return c, errors.New("sqldb: BusyTimeout, Readers, Writers and MaxWaiting must not be negative")
	}
	if c.BusyTimeout == 0 {
		c.BusyTimeout = 10 * time.Second
	}
	connections := max(8, 4*runtime.GOMAXPROCS(0))
	if c.Readers == 0 {
		c.Readers = connections
	}
	if c.Writers == 0 {
		c.Writers = connections
	}
	if c.MaxWaiting == 0 {
		c.MaxWaiting = 10_000
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, nil
}

// Dialect is a kind of database.
type Dialect string

// The kinds of databases there are.
const (
	SQLite     Dialect = "sqlite"
	PostgreSQL Dialect = "postgres"
)

// DB is a service's database. All its methods are safe for concurrent use.
type DB struct {
	engine  engine
	commits commits
}

// engine is what each kind of database does its own way.
type engine interface {
	dialect() Dialect
	pool() *sql.DB
	update(ctx context.Context, f func(context.Context, Tx) error) error
	migrate(ctx context.Context, f func(context.Context, Tx) error) error
	write(ctx context.Context, query string, args []any, scan func(*sql.Rows) error) error
	view(ctx context.Context, f func(context.Context, Tx) error) error
	query(ctx context.Context, query string, args []any) (*sql.Rows, error)
	queryRow(ctx context.Context, query string, args []any) *sql.Row
	waiting() int
	close() bool // refuses callers and waits for those inside; false: it was closed
	isClosed() bool
	disconnect() error
}

// Open opens the database that url names: "sqlite:PATH", a file that is created
// if need be, or "postgres://USER@HOST:PORT/DATABASE", a database on a
// PostgreSQL server from 15 on. It starts no goroutine of its own.
func Open(ctx context.Context, url string, o *Options) (*DB, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	kind, where, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	db := &DB{}
	if kind == SQLite {
		err = openSQLite(ctx, db, where, opts)
	} else {
		err = openPostgres(ctx, db, where, opts)
	}
	if err != nil {
		return nil, err
	}
	return db, nil
}

// Close waits for the transactions that run, answers ErrClosed to those that
// wait, and closes the connections. Closing twice is harmless.
func (db *DB) Close() error {
	if !db.engine.close() {
		return nil
	}
	db.commits.close()
	return db.engine.disconnect()
}

// Dialect returns the kind of database, for those whose SQL differs.
func (db *DB) Dialect() Dialect { return db.engine.dialect() }

// DialectOf returns the kind of database that q, a *DB or a Tx of one, reads.
func DialectOf(q Queryer) Dialect {
	if d, ok := q.(interface{ Dialect() Dialect }); ok {
		return d.Dialect()
	}
	return SQLite
}

// Path returns the absolute path of an SQLite file, "" for PostgreSQL.
func (db *DB) Path() string {
	if e, ok := db.engine.(*sqlite); ok {
		return e.path
	}
	return ""
}

// SQL returns the pool of connections that read, for what this package does
// not offer.
func (db *DB) SQL() *sql.DB { return db.engine.pool() }

// Update runs f in a transaction and returns after it is durably committed, or
// not at all. The transaction is undone if f returns an error (which Update
// returns), panics, or ends its goroutine. If ctx ends before f runs, f does not
// run.
//
// On SQLite Update makes one transaction of what several callers want to write,
// each isolated from the failures of the others. On PostgreSQL transactions run
// beside each other as if one came behind the other (SERIALIZABLE): when that is
// not to be had, f is undone and run again. So f may run more than once, and its
// only effects are through tx and in variables that each run sets anew.
func (db *DB) Update(ctx context.Context, f func(ctx context.Context, tx Tx) error) error {
	if db.Updating(ctx) {
		return ErrNested
	}
	return db.engine.update(ctx, f)
}

// Write runs one statement as a transaction of its own and calls scan, which may
// be nil, with each row that it returns. An error of scan is returned and undoes
// nothing.
//
// On PostgreSQL this is one round trip, and the statement sees what others
// commit while it runs (READ COMMITTED), so it has to be right beside them by
// itself. If ctx ends meanwhile, the statement may or may not have been done.
func (db *DB) Write(ctx context.Context, query string, args []any, scan func(*sql.Rows) error) error {
	if db.Updating(ctx) {
		return ErrNested
	}
	return db.engine.write(ctx, query, args, scan)
}

// scanAll calls scan with each row; its error is scanned, what the database says
// is err.
func scanAll(rows *sql.Rows, scan func(*sql.Rows) error) (scanned, err error) {
	defer rows.Close()
	for rows.Next() {
		if scan != nil && scanned == nil {
			scanned = scan(rows)
		}
	}
	return scanned, errors.Join(rows.Err(), rows.Close())
}

// Waiting returns how many callers wait in Update for their turn.
func (db *DB) Waiting() int { return db.engine.waiting() }

// Updating reports whether ctx is that of a function which runs in Update.
func (db *DB) Updating(ctx context.Context) bool { return ctx.Value(updating{}) == db }

// updating marks the context of a running Update with its *DB.
type updating struct{}

// View runs f in a transaction that reads one snapshot of the database and
// cannot write.
func (db *DB) View(ctx context.Context, f func(ctx context.Context, tx Tx) error) error {
	return db.engine.view(ctx, f)
}

// QueryContext reads outside a transaction. The caller closes the rows.
func (db *DB) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	rows, err := db.engine.query(ctx, query, args)
	return rows, readError(db.engine, err)
}

// QueryRowContext reads one row outside a transaction.
func (db *DB) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return db.engine.queryRow(ctx, query, args)
}

// readError tells a database that was closed from one that fails.
func readError(e engine, err error) error {
	if err != nil && e.isClosed() {
		return ErrClosed
	}
	return err
}
