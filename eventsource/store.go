package eventsource

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/sqldb"
)

// Store is what a backend implements and what eventsourcetest.Run checks.
type Store interface {
	// Append writes recs behind each other at the end of stream s, all or
	// none, if the stream is as x expects. Otherwise it writes nothing and the
	// error is a *ConflictError. If the stream already holds records with the
	// IDs of recs, one behind the other, they are not written again, whatever
	// x expects: the Commit is theirs and has Replayed. If only some of the
	// IDs are there, or elsewhere, the error wraps ErrDuplicate. What
	// CheckAppend finds wrong is refused.
	Append(ctx context.Context, s event.Stream, x Expect, recs ...event.Record) (Commit, error)
	// Read yields the stream's records in order of version.
	Read(ctx context.Context, s event.Stream, o ReadOptions) iter.Seq2[event.Record, error]
	// Feed yields the records of all streams in order of position. A position
	// that it has passed is never used later. A live feed ends when ctx does, with
	// its error.
	Feed(ctx context.Context, o FeedOptions) iter.Seq2[event.Record, error]
	// Lookup returns where the record with an ID is, and whether there is one:
	// it finds what a repeated command has done.
	Lookup(ctx context.Context, id event.ID) (Commit, bool, error)
	// Head returns the highest position recorded, 0 when there is none. A Feed
	// gets there, but what lies before it may be recorded later still.
	Head(ctx context.Context) (event.Position, error)
	// Epoch names this incarnation of the table: positions of different epochs
	// do not compare.
	Epoch(ctx context.Context) (string, error)
	// In returns the same store reading and writing inside tx, which sees its
	// own writes and undoes them if it is rolled back. Its Feed cannot be live.
	In(tx sqldb.Tx) Store
}

// ReadOptions narrows Read. The zero value reads all.
type ReadOptions struct {
	From  uint64 // first version wanted; 0 and 1 mean the first
	Limit int    // at most so many records; 0: all
}

// FeedOptions narrows Feed. The zero value reads all there is and ends.
type FeedOptions struct {
	After event.Position
	Limit int  // at most so many records; 0: all
	Live  bool // at the head, wait for more instead of ending
}

// Commit says where an append ended.
type Commit struct {
	Stream   event.Stream
	Version  uint64         // of the last record
	Position event.Position // of the last record
	Replayed bool           // the same ids were there already: nothing was written
}

// Expect is what an append expects of its stream.
type Expect struct {
	kind    expectKind
	version uint64
}

type expectKind uint8

const (
	expectAny expectKind = iota
	expectNone
	expectExists
	expectVersion
)

// What an append can expect of a stream: anything, that it does not exist yet,
// that it has at least one record.
var (
	Any      = Expect{kind: expectAny}
	NoStream = Expect{kind: expectNone}
	Exists   = Expect{kind: expectExists}
)

// At expects the stream's last version to be v; At(0) is NoStream.
func At(v uint64) Expect {
	if v == 0 {
		return NoStream
	}
	return Expect{kind: expectVersion, version: v}
}

// Match reports whether a stream whose last version is v (0: no stream) is as
// expected.
func (x Expect) Match(v uint64) bool {
	switch x.kind {
	case expectNone:
		return v == 0
	case expectExists:
		return v > 0
	case expectVersion:
		return v == x.version
	default:
		return true
	}
}

// Exact returns the one version that Match accepts, if there is only one.
func (x Expect) Exact() (version uint64, ok bool) {
	return x.version, x.kind == expectVersion || x.kind == expectNone
}

func (x Expect) String() string {
	switch x.kind {
	case expectNone:
		return "no stream"
	case expectExists:
		return "an existing stream"
	case expectVersion:
		return fmt.Sprintf("version %d", x.version)
	default:
		return "any version"
	}
}

// MaxAppend is the highest number of records in one Append.
const MaxAppend = 1000

// CheckAppend reports why recs cannot be appended to s, with a sentence that
// names the field. Every Store calls it before it writes.
func CheckAppend(s event.Stream, recs []event.Record) error {
	if err := s.Check(); err != nil {
		return err
	}
	if len(recs) == 0 || len(recs) > MaxAppend {
		return fmt.Errorf("eventsource: append to %s: 1 to %d records at a time, not %d", s, MaxAppend, len(recs))
	}
	seen := make(map[event.ID]bool, len(recs))
	for i, r := range recs {
		if err := checkRecord(r); err != nil {
			return fmt.Errorf("eventsource: append to %s: record %d of %d: %w", s, i+1, len(recs), err)
		}
		if seen[r.ID] {
			return fmt.Errorf("eventsource: append to %s: record %d of %d: %w: %s is given twice", s, i+1, len(recs), ErrDuplicate, r.ID)
		}
		seen[r.ID] = true
	}
	return nil
}

func checkRecord(r event.Record) error {
	switch {
	case r.ID.IsZero():
		return errors.New("it has no ID")
	case r.Schema < 1:
		return fmt.Errorf("its Schema is %d: the first is 1", r.Schema)
	case len(r.Data) > event.MaxData:
		return fmt.Errorf("its Data has %d bytes, at most %d are allowed", len(r.Data), event.MaxData)
	}
	if err := event.CheckType(r.Type); err != nil {
		return err
	}
	return r.Meta.Check()
}

// ErrDuplicate says that a record's ID is taken by another one.
var ErrDuplicate = errors.New("eventsource: an event with this ID is recorded already")

// ErrLiveInTx is the answer of a live Feed inside a transaction, which sees
// nothing that others commit.
var ErrLiveInTx = errors.New("eventsource: a feed inside a transaction cannot be live")

// ErrConflict is what errors.Is finds in a *ConflictError.
var ErrConflict = errors.New("eventsource: conflict")

// ConflictError says that a stream was not as an append expected it.
type ConflictError struct {
	Stream   event.Stream
	Expected Expect
	Actual   uint64 // the stream's last version; 0: no stream
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("eventsource: %s is at version %d, expected %s", e.Stream, e.Actual, e.Expected)
}

// Is reports whether target is ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }
