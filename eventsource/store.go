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
	// error is a *ConflictError. Records whose ids the stream already ends
	// with, in the same order, are not written again: the Commit has Replayed.
	Append(ctx context.Context, s event.Stream, x Expect, recs ...event.Record) (Commit, error)
	// Read yields the stream's records in order of version.
	Read(ctx context.Context, s event.Stream, o ReadOptions) iter.Seq2[event.Record, error]
	// Feed yields the records of all streams in order of position.
	Feed(ctx context.Context, o FeedOptions) iter.Seq2[event.Record, error]
	// Head returns the highest position recorded, 0 when there is none.
	Head(ctx context.Context) (event.Position, error)
	// Epoch names this incarnation of the table: positions of different epochs
	// do not compare.
	Epoch(ctx context.Context) (string, error)
	// In returns the same store reading and writing inside tx.
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
