package eventsourcetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
)

func archives(st eventsource.Store) eventsource.Archives { return st.(eventsource.Archives) }

func truncated(t *testing.T, st eventsource.Store, s event.Stream, first uint64) {
	t.Helper()
	if err := archives(st).Truncate(t.Context(), s, first); err != nil {
		t.Fatal(err)
	}
}

func wantPurged(t *testing.T, st eventsource.Store, s event.Stream, upTo event.Position, want int) {
	t.Helper()
	if n, err := archives(st).Purge(t.Context(), s, upTo); err != nil || n != want {
		t.Fatalf("purged %d, %v, want %d", n, err, want)
	}
}

func wantStream(t *testing.T, st eventsource.Store, s event.Stream, version, first uint64, archived bool) {
	t.Helper()
	got, err := archives(st).StreamState(t.Context(), s)
	if err != nil || got.Version != version || got.First != first || got.Archived.IsZero() == archived {
		t.Fatalf("got %+v, %v, want version %d from %d, archived: %t", got, err, version, first, archived)
	}
}

func wantArchived(t *testing.T, st eventsource.Store, s event.Stream, x eventsource.Expect) {
	t.Helper()
	c, err := st.Append(t.Context(), s, x, records(1)...)
	var archived *eventsource.ArchivedError
	if !errors.As(err, &archived) || archived.Stream != s || archived.Since.IsZero() || errors.Is(err, eventsource.ErrConflict) {
		t.Fatalf("got %+v, %v, want an *ArchivedError", c, err)
	}
}

var truncateCases = []testcase{
	{"nothing is known of a stream that is not there", func(t *testing.T, b Backend) {
		wantStream(t, b.Store, streamA, 0, 0, false)
	}},
	{"a stream begins with version 1", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(3)...)
		wantStream(t, b.Other, streamA, 3, 1, false)
	}},
	{"a truncated stream is read from its first version", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(5)...)
		appended(t, b.Store, streamB, eventsource.Any, records(2)...)
		truncated(t, b.Store, streamA, 4)
		wantStream(t, b.Other, streamA, 5, 4, false)
		wantVersions(t, read(t, b.Other, streamA, eventsource.ReadOptions{}), 4, 5)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{From: 2, Limit: 1}), 4, 4)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{From: 5}), 5, 5)
		wantVersions(t, read(t, b.Store, streamB, eventsource.ReadOptions{}), 1, 2)
	}},
	{"versions go on in a truncated stream", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(3)...)
		truncated(t, b.Store, streamA, 3)
		wantConflict(t, b, streamA, eventsource.NoStream, 3)
		if c := appended(t, b.Store, streamA, eventsource.At(3), records(1)...); c.Version != 4 || c.Position != 4 {
			t.Errorf("got %+v", c)
		}
	}},
	{"a feed has what truncation hides", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(5)...)
		truncated(t, b.Store, streamA, 5)
		wantPositions(t, feed(t, b.Other, eventsource.FeedOptions{}), 1, 5)
	}},
	{"truncation can be taken back", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(5)...)
		truncated(t, b.Store, streamA, 4)
		truncated(t, b.Store, streamA, 2)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{}), 2, 5)
		truncated(t, b.Store, streamA, 0)
		wantStream(t, b.Store, streamA, 5, 1, false)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{}), 1, 5)
	}},
	{"one record of a stream has to stay", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(2)...)
		if err := archives(b.Store).Truncate(t.Context(), streamA, 3); err == nil {
			t.Error("all was hidden")
		}
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{}), 1, 2)
	}},
	{"a stream that is not there cannot be truncated", func(t *testing.T, b Backend) {
		if err := archives(b.Store).Truncate(t.Context(), streamA, 1); err == nil {
			t.Error("no error")
		}
	}},
	{"a truncation that is undone changed nothing", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(3)...)
		update(t, b, errUndo, func(ctx context.Context, in eventsource.Store) {
			truncated(t, in, streamA, 3)
			wantVersions(t, read(t, in, streamA, eventsource.ReadOptions{}), 3, 3)
			wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{}), 1, 3)
		})
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{}), 1, 3)
	}},
	{"a repeated append is answered although it is hidden", func(t *testing.T, b Backend) {
		recs := records(2)
		first := appended(t, b.Store, streamA, eventsource.Any, recs...)
		appended(t, b.Store, streamA, eventsource.Any, records(2)...)
		truncated(t, b.Store, streamA, 4)
		first.Replayed = true
		if c := appended(t, b.Store, streamA, eventsource.Any, recs...); c != first {
			t.Errorf("got %+v, want %+v", c, first)
		}
	}},
	{"a purge removes what is hidden up to a position", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(5)...)
		appended(t, b.Store, streamB, eventsource.Any, records(1)...)
		truncated(t, b.Store, streamA, 5)
		wantPurged(t, b.Store, streamA, 3, 3)
		wantPositions(t, feed(t, b.Other, eventsource.FeedOptions{}), 4, 6)
		wantPurged(t, b.Store, streamA, 100, 1)
		wantPurged(t, b.Store, streamA, 100, 0)
		wantPositions(t, feed(t, b.Other, eventsource.FeedOptions{}), 5, 6)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{}), 5, 5)
	}},
	{"a purge of what is not hidden removes nothing", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(3)...)
		wantPurged(t, b.Store, streamA, 100, 0)
		wantPurged(t, b.Store, streamB, 100, 0)
		wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{}), 1, 3)
	}},
	{"what was purged cannot come back", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(5)...)
		truncated(t, b.Store, streamA, 4)
		wantPurged(t, b.Store, streamA, 2, 2)
		if err := archives(b.Store).Truncate(t.Context(), streamA, 2); err == nil {
			t.Error("it begins with what is gone")
		}
		truncated(t, b.Store, streamA, 3)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{}), 3, 5)
	}},
	{"positions and IDs of purged records stay taken", func(t *testing.T, b Backend) {
		recs := records(2)
		first := appended(t, b.Store, streamA, eventsource.Any, recs...)
		appended(t, b.Store, streamA, eventsource.Any, records(1)...)
		truncated(t, b.Store, streamA, 3)
		wantPurged(t, b.Store, streamA, 100, 2)
		first.Replayed = true
		if c := appended(t, b.Store, streamA, eventsource.Any, recs...); c != first {
			t.Errorf("got %+v, want %+v", c, first)
		}
		wantDuplicate(t, b, streamB, recs[0])
		if c := appended(t, b.Store, streamB, eventsource.Any, records(1)...); c.Position != 4 {
			t.Errorf("got %+v", c)
		}
		wantHead(t, b.Store, 4)
	}},
	{"a feed goes over many purged records, with a limit and live", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(900)...)
		appended(t, b.Store, streamA, eventsource.Any, records(301)...)
		truncated(t, b.Store, streamA, 1201)
		wantPurged(t, b.Store, streamA, 2000, 1000)
		wantPurged(t, b.Store, streamA, 2000, 200)
		wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{Limit: 5}), 1201, 1201)
		got := live(t, b.Other, 2)
		appended(t, b.Store, streamB, eventsource.Any, records(1)...)
		wantPositions(t, got(), 1201, 1202)
	}},
	{"a purge that is undone removed nothing", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(3)...)
		truncated(t, b.Store, streamA, 3)
		update(t, b, errUndo, func(ctx context.Context, in eventsource.Store) {
			wantPurged(t, in, streamA, 100, 2)
			wantPositions(t, feed(t, in, eventsource.FeedOptions{}), 3, 3)
			wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{}), 1, 3)
		})
		truncated(t, b.Store, streamA, 0)
		if got := read(t, b.Store, streamA, eventsource.ReadOptions{}); len(got) != 3 || string(got[0].Data) != `{"total":1234}` {
			t.Errorf("got %+v", got)
		}
	}},
}

var archiveCases = []testcase{
	{"an archived stream takes no appends, whatever they expect", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(2)...)
		if err := archives(b.Store).Archive(t.Context(), streamA); err != nil {
			t.Fatal(err)
		}
		wantStream(t, b.Other, streamA, 2, 1, true)
		for _, x := range []eventsource.Expect{eventsource.Any, eventsource.Exists, eventsource.NoStream, eventsource.At(2), eventsource.At(1)} {
			wantArchived(t, b.Other, streamA, x)
		}
		wantHead(t, b.Store, 2)
	}},
	{"an archived stream can be read, and others appended to", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(2)...)
		if err := archives(b.Store).Archive(t.Context(), streamA); err != nil {
			t.Fatal(err)
		}
		appended(t, b.Store, streamB, eventsource.NoStream, records(1)...)
		wantVersions(t, read(t, b.Store, streamA, eventsource.ReadOptions{}), 1, 2)
		wantPositions(t, feed(t, b.Store, eventsource.FeedOptions{}), 1, 3)
	}},
	{"a repeated append to an archived stream is answered", func(t *testing.T, b Backend) {
		recs := records(2)
		first := appended(t, b.Store, streamA, eventsource.Any, recs...)
		if err := archives(b.Store).Archive(t.Context(), streamA); err != nil {
			t.Fatal(err)
		}
		first.Replayed = true
		if c := appended(t, b.Store, streamA, eventsource.Any, recs...); c != first {
			t.Errorf("got %+v, want %+v", c, first)
		}
	}},
	{"an archived stream can be taken back", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(2)...)
		for _, f := range []func(context.Context, event.Stream) error{archives(b.Store).Archive, archives(b.Other).Archive, archives(b.Store).Unarchive, archives(b.Store).Unarchive} {
			if err := f(t.Context(), streamA); err != nil {
				t.Fatal(err)
			}
		}
		wantStream(t, b.Store, streamA, 2, 1, false)
		if c := appended(t, b.Store, streamA, eventsource.At(2), records(1)...); c.Version != 3 {
			t.Errorf("got %+v", c)
		}
	}},
	{"since when a stream is archived does not change when it is again", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(1)...)
		before := time.Now().Truncate(time.Microsecond)
		if err := archives(b.Store).Archive(t.Context(), streamA); err != nil {
			t.Fatal(err)
		}
		first, _ := archives(b.Store).StreamState(t.Context(), streamA)
		if err := archives(b.Store).Archive(t.Context(), streamA); err != nil {
			t.Fatal(err)
		}
		again, _ := archives(b.Store).StreamState(t.Context(), streamA)
		if first != again || first.Archived.Before(before) || first.Archived.After(time.Now()) {
			t.Errorf("got %+v, then %+v", first, again)
		}
	}},
	{"a stream that is not there cannot be archived", func(t *testing.T, b Backend) {
		if archives(b.Store).Archive(t.Context(), streamA) == nil || archives(b.Store).Unarchive(t.Context(), streamA) == nil {
			t.Error("no error")
		}
		appended(t, b.Store, streamA, eventsource.NoStream, records(1)...)
	}},
	{"an append to an archived stream leaves its transaction as it was", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(1)...)
		update(t, b, nil, func(ctx context.Context, in eventsource.Store) {
			if err := archives(in).Archive(ctx, streamA); err != nil {
				t.Fatal(err)
			}
			wantArchived(t, in, streamA, eventsource.Any)
			appended(t, in, streamB, eventsource.Any, records(1)...)
			wantStream(t, b.Store, streamA, 1, 1, false)
		})
		wantArchived(t, b.Store, streamA, eventsource.Any)
		wantHead(t, b.Store, 2)
	}},
	{"an archived aggregate is loaded and refuses commands", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		counting(t, repo, 2)
		if err := archives(b.Store).Archive(t.Context(), counterStream); err != nil {
			t.Fatal(err)
		}
		_, err := repo.Handle(t.Context(), "1", add{N: 1})
		var archived *eventsource.ArchivedError
		if !errors.As(err, &archived) {
			t.Errorf("got %v", err)
		}
		if c, err := repo.Handle(t.Context(), "1", add{}); err != nil || c.Version != 2 {
			t.Errorf("a decision without events: got %+v, %v", c, err)
		}
		wantState(t, b.Store, counter, 2, 2)
	}},
	{"an archived stream can be truncated and purged", func(t *testing.T, b Backend) {
		appended(t, b.Store, streamA, eventsource.Any, records(3)...)
		if err := archives(b.Store).Archive(t.Context(), streamA); err != nil {
			t.Fatal(err)
		}
		truncated(t, b.Store, streamA, 3)
		wantPurged(t, b.Store, streamA, 100, 2)
		wantStream(t, b.Store, streamA, 3, 3, true)
	}},
}
