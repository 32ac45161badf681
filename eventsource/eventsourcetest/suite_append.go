package eventsourcetest

import (
	"errors"
	"testing"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
)

var versionCases = []testcase{
	{"the first record of a stream has version 1", func(t *testing.T, b Backend) {
		if c := appended(t, b.Store, streamA, eventsource.Any, records(1)...); c.Version != 1 || c.Position != 1 || c.Stream != streamA || c.Replayed {
			t.Errorf("got %+v", c)
		}
	}},
	{"the commit of several records is that of the last", func(t *testing.T, b Backend) {
		if c := appended(t, b.Store, streamA, eventsource.Any, records(3)...); c.Version != 3 || c.Position != 3 {
			t.Errorf("got %+v", c)
		}
	}},
	{"versions go on where the last append ended", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(3)...)
		if c := appended(t, b.Other, streamA, eventsource.Any, records(2)...); c.Version != 5 {
			t.Errorf("got %+v", c)
		}
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{}), 1, 5)
	}},
	{"each stream counts its own versions", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(2)...)
		if c := appended(t, b.Store, streamB, eventsource.Any, records(1)...); c.Version != 1 || c.Position != 3 {
			t.Errorf("got %+v", c)
		}
	}},
	{"one ID in two categories is two streams", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(2)...)
		other := event.Stream{Category: "ticket", ID: streamA.ID}
		if c := appended(t, b.Store, other, eventsource.NoStream, records(1)...); c.Version != 1 {
			t.Errorf("got %+v", c)
		}
		wantVersions(t, read(t, b.Store, other, eventsource.ReadOptions{}), 1, 1)
	}},
	{"the head is 0 before the first record and then the last position", func(t *testing.T, b Backend) {
		wantHead(t, b.Store, 0)
		appended(t, b.Store, streamA, eventsource.Any, records(2)...)
		appended(t, b.Store, streamB, eventsource.Any, records(1)...)
		wantHead(t, b.Store, 3)
		wantHead(t, b.Other, 3)
	}},
}

// wantConflict appends two records, wants a conflict, and that nothing changed.
func wantConflict(t *testing.T, b Backend, s event.Stream, x eventsource.Expect, actual uint64) {
	t.Helper()
	before := len(feed(t, b.Store, eventsource.FeedOptions{}))
	c, err := b.Store.Append(t.Context(), s, x, records(2)...)
	var conflict *eventsource.ConflictError
	if !errors.As(err, &conflict) || !errors.Is(err, eventsource.ErrConflict) {
		t.Fatalf("got %+v, %v, want a *ConflictError", c, err)
	}
	if want := (eventsource.ConflictError{Stream: s, Expected: x, Actual: actual}); *conflict != want {
		t.Errorf("got %+v, want %+v", *conflict, want)
	}
	if after := len(feed(t, b.Store, eventsource.FeedOptions{})); after != before {
		t.Errorf("there are %d records after a conflict, %d before", after, before)
	}
}

var expectCases = []testcase{
	{"a new stream is as NoStream expects", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.NoStream, records(1)...)
	}},
	{"an old stream conflicts with NoStream", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(2)...)
		wantConflict(t, b, streamA, eventsource.NoStream, 2)
	}},
	{"the last version is as At expects", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(2)...)
		if c := appended(t, b.Store, streamA, eventsource.At(2), records(1)...); c.Version != 3 {
			t.Errorf("got %+v", c)
		}
	}},
	{"a version behind the last conflicts with At", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(2)...)
		wantConflict(t, b, streamA, eventsource.At(1), 2)
	}},
	{"a version ahead of the last conflicts with At", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(2)...)
		wantConflict(t, b, streamA, eventsource.At(3), 2)
	}},
	{"a stream that is not there conflicts with At", func(t *testing.T, b Backend) {
		wantConflict(t, b, streamA, eventsource.At(1), 0)
	}},
	{"At 0 expects no stream", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.At(0), records(1)...)
		wantConflict(t, b, streamA, eventsource.At(0), 1)
	}},
	{"an old stream is as Exists expects", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(1)...)
		appended(t, b.Store, streamA, eventsource.Exists, records(1)...)
	}},
	{"a stream that is not there conflicts with Exists", func(t *testing.T, b Backend) {
		wantConflict(t, b, streamA, eventsource.Exists, 0)
	}},
	{"conflicts burn no position and no version", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(1)...)
		for range 10 {
			wantConflict(t, b, streamA, eventsource.NoStream, 1)
		}
		if c := appended(t, b.Store, streamA, eventsource.At(1), records(1)...); c.Version != 2 || c.Position != 2 {
			t.Errorf("got %+v", c)
		}
	}},
	{"the other handle's appends conflict too", func(t *testing.T, b Backend) {
		appended(t, b.Other, streamA, eventsource.NoStream, records(1)...)
		wantConflict(t, b, streamA, eventsource.NoStream, 1)
	}},
}

// wantDuplicate appends, wants ErrDuplicate, and that nothing changed.
func wantDuplicate(t *testing.T, b Backend, s event.Stream, recs ...event.Record) {
	t.Helper()
	before := len(feed(t, b.Store, eventsource.FeedOptions{}))
	if c, err := b.Store.Append(t.Context(), s, eventsource.Any, recs...); !errors.Is(err, eventsource.ErrDuplicate) {
		t.Errorf("got %+v, %v, want ErrDuplicate", c, err)
	}
	if after := len(feed(t, b.Store, eventsource.FeedOptions{})); after != before {
		t.Errorf("there are %d records after a duplicate, %d before", after, before)
	}
}

var replayCases = []testcase{
	{"the same IDs again give the first answer and write nothing", func(t *testing.T, b Backend) {
		recs := records(3)
		first := appended(t, b.Store, streamA, eventsource.Any, recs...)
		first.Replayed = true
		if again := appended(t, b.Other, streamA, eventsource.Any, recs...); again != first {
			t.Errorf("got %+v, want %+v", again, first)
		}
		wantHead(t, b.Store, 3)
	}},
	{"a repeated append is answered although its expectation has passed", func(t *testing.T, b Backend) {
		recs := records(1)
		appended(t, b.Store, streamA, eventsource.NoStream, recs...)
		if c := appended(t, b.Store, streamA, eventsource.NoStream, recs...); !c.Replayed {
			t.Errorf("got %+v", c)
		}
	}},
	{"a repeated append is answered although others have followed", func(t *testing.T, b Backend) {
		recs := records(2)
		appended(t, b.Store, streamA, eventsource.Any, recs...)
		appended(t, b.Store, streamA, eventsource.Any, records(2)...)
		if c := appended(t, b.Store, streamA, eventsource.At(0), recs...); !c.Replayed || c.Version != 2 || c.Position != 2 {
			t.Errorf("got %+v", c)
		}
	}},
	{"what was recorded first stays when the same ID comes with other data", func(t *testing.T, b Backend) {
		recs := records(1)
		appended(t, b.Store, streamA, eventsource.Any, recs...)
		changed := recs[0]
		changed.Data = []byte(`{"total":1}`)
		appended(t, b.Store, streamA, eventsource.Any, changed)
		if got := read(t, b.Store, streamA, eventsource.ReadOptions{}); len(got) != 1 || string(got[0].Data) != `{"total":1234}` {
			t.Errorf("got %v", got)
		}
	}},
	{"the same IDs in another order are duplicates", func(t *testing.T, b Backend) {
		recs := records(2)
		appended(t, b.Store, streamA, eventsource.Any, recs...)
		wantDuplicate(t, b, streamA, recs[1], recs[0])
	}},
	{"an old ID with a new one behind it is a duplicate", func(t *testing.T, b Backend) {
		recs := records(1)
		appended(t, b.Store, streamA, eventsource.Any, recs...)
		wantDuplicate(t, b, streamA, recs[0], records(1)[0])
	}},
	{"an old ID behind a new one is a duplicate", func(t *testing.T, b Backend) {
		recs := records(1)
		appended(t, b.Store, streamA, eventsource.Any, recs...)
		wantDuplicate(t, b, streamA, records(1)[0], recs[0])
	}},
	{"old IDs with another record between them are duplicates", func(t *testing.T, b Backend) {
		recs := records(3)
		appended(t, b.Store, streamA, eventsource.Any, recs...)
		wantDuplicate(t, b, streamA, recs[0], recs[2])
	}},
	{"an ID of another stream is a duplicate", func(t *testing.T, b Backend) {
		recs := records(1)
		appended(t, b.Store, streamA, eventsource.Any, recs...)
		wantDuplicate(t, b, streamB, recs...)
	}},
	{"an ID given twice is a duplicate", func(t *testing.T, b Backend) {
		recs := records(1)
		wantDuplicate(t, b, streamA, recs[0], recs[0])
	}},
}
