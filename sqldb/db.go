package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
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
	// BusyTimeout is how long to wait for another process that writes.
	// Default: 10 s.
	BusyTimeout time.Duration
	// Readers is the highest number of connections that read.
	// Default: 4 for each CPU, at least 8.
	Readers int
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
	if c.BusyTimeout < 0 || c.Readers < 0 || c.MaxWaiting < 0 {
		return c, errors.New("sqldb: BusyTimeout, Readers and MaxWaiting must not be negative")
	}
	if c.BusyTimeout == 0 {
		c.BusyTimeout = 10 * time.Second
	}
	if c.Readers == 0 {
		c.Readers = max(8, 4*runtime.GOMAXPROCS(0))
	}
	if c.MaxWaiting == 0 {
		c.MaxWaiting = 10_000
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c, nil
}

// DB is a service's database. All its methods are safe for concurrent use.
type DB struct {
	path    string
	writer  *writer
	readers *sql.DB
	queries statements // of readers
	commits commits
}

// Open opens, and creates if need be, the database that url names:
// "sqlite:PATH". It starts no goroutine of its own.
func Open(ctx context.Context, url string, o *Options) (*DB, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	path, err := sqlitePath(url)
	if err != nil {
		return nil, err
	}
	if err := createFile(path); err != nil {
		return nil, err
	}
	db := &DB{path: path}
	if err := db.open(ctx, opts); err != nil {
		db.closePools()
		return nil, fmt.Errorf("sqldb: open %s: %w", path, err)
	}
	return db, nil
}

func (db *DB) open(ctx context.Context, o Options) error {
	pool, err := sql.Open("sqlite", dsn(db.path, o.BusyTimeout,
		"synchronous(FULL)", "foreign_keys(1)", "journal_size_limit(67108864)"))
	if err != nil {
		return fmt.Errorf("%w (import modernc.org/sqlite, or package kit, which does)", err)
	}
	pool.SetMaxOpenConns(1)
	db.writer = newWriter(db, pool, o)
	if err := db.writer.enableWAL(ctx, o.BusyTimeout); err != nil {
		return err
	}
	if db.readers, err = sql.Open("sqlite", dsn(db.path, o.BusyTimeout, "query_only(1)")); err != nil {
		return err
	}
	db.readers.SetMaxOpenConns(o.Readers + 1) // one looks for foreign commits
	db.readers.SetMaxIdleConns(o.Readers + 1)
	db.queries.prepare = db.readers.PrepareContext
	return db.commits.open(ctx, db.readers)
}

// Close waits for the transaction that runs, answers ErrClosed to those that
// wait, and closes the file. Closing twice is harmless.
func (db *DB) Close() error {
	if !db.writer.close() {
		return nil
	}
	db.commits.close()
	return db.closePools()
}

func (db *DB) closePools() error {
	var errs []error
	db.queries.clear()
	if db.readers != nil {
		errs = append(errs, db.readers.Close())
	}
	if db.writer != nil {
		errs = append(errs, db.writer.closePool())
	}
	return errors.Join(errs...)
}

// Path returns the file's absolute path.
func (db *DB) Path() string { return db.path }

// SQL returns the pool of connections that read, for what this package does
// not offer.
func (db *DB) SQL() *sql.DB { return db.readers }

// Update runs f in a transaction and returns after it is durably committed, or
// not at all. The transaction is undone if f returns an error (which Update
// returns), panics, or ends its goroutine. If ctx ends before f runs, f does not
// run. Update makes one transaction of what several callers want to write, each
// isolated from the failures of the others.
func (db *DB) Update(ctx context.Context, f func(ctx context.Context, tx Tx) error) error {
	if ctx.Value(updating{}) == db {
		return ErrNested
	}
	return db.writer.update(ctx, f)
}

// Waiting returns how many callers wait in Update for their turn.
func (db *DB) Waiting() int {
	db.writer.mu.Lock()
	defer db.writer.mu.Unlock()
	return len(db.writer.queue)
}

// updating marks the context of a running Update with its *DB.
type updating struct{}

// View runs f in a transaction that reads one snapshot of the database and
// cannot write.
func (db *DB) View(ctx context.Context, f func(ctx context.Context, tx Tx) error) error {
	tx, err := db.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return db.readError(err)
	}
	defer tx.Rollback()
	return f(ctx, tx)
}

// QueryContext reads outside a transaction. The caller closes the rows.
func (db *DB) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if st := db.queries.get(ctx, query, args); st != nil {
		return st.QueryContext(ctx, args...)
	}
	rows, err := db.readers.QueryContext(ctx, query, args...)
	return rows, db.readError(err)
}

// QueryRowContext reads one row outside a transaction.
func (db *DB) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if st := db.queries.get(ctx, query, args); st != nil {
		return st.QueryRowContext(ctx, args...)
	}
	return db.readers.QueryRowContext(ctx, query, args...)
}

func (db *DB) readError(err error) error {
	if err != nil && db.writer.isClosed() {
		return ErrClosed
	}
	return err
}
