package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/sqldb"
)

// A test that needs another process runs its own binary with the file's path
// in childEnv: it appends with several writers and prints the position of each
// append after it was acknowledged.
const childEnv = "CLEAVE_TEST_APPEND_TO"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		if err := appendForEver(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func appendForEver(path string) error {
	ctx := context.Background()
	db, err := sqldb.Open(ctx, "sqlite:"+path, nil)
	if err != nil {
		return err
	}
	if err := sqlstore.Setup(ctx, db); err != nil {
		return err
	}
	st := sqlstore.New(db)
	errs := make(chan error)
	var mu sync.Mutex
	for range 8 {
		go func() {
			s := event.Stream{Category: "order", ID: event.NewID().String()}
			for {
				recs := []event.Record{
					{ID: event.NewID(), Type: "order.placed", Schema: 1, Data: []byte("{}")},
					{ID: event.NewID(), Type: "order.approved", Schema: 1, Data: []byte("{}")},
				}
				c, err := st.Append(ctx, s, eventsource.Any, recs...)
				if err != nil {
					errs <- err
				}
				mu.Lock()
				fmt.Println(c.Position)
				mu.Unlock()
			}
		}()
	}
	return <-errs
}

// child starts a process that appends to the file, and calls acked with each
// position it was promised, until it ends.
func child(t *testing.T, path string, acked func(event.Position)) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if p, err := strconv.ParseUint(lines.Text(), 10, 64); err == nil {
				acked(event.Position(p))
			}
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-done
		cmd.Wait()
	})
	return cmd
}

func TestProcessesOnOneFileAppendAndFollowEachOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db := open(t, path)
	st := sqlstore.New(db)
	for range 2 {
		child(t, path, func(event.Position) {})
	}
	go func() {
		s := event.Stream{Category: "here", ID: "1"}
		for t.Context().Err() == nil {
			if _, err := st.Append(t.Context(), s, eventsource.Any, event.Record{ID: event.NewID(), Type: "x", Schema: 1}); err != nil && t.Context().Err() == nil {
				t.Error(err)
			}
		}
	}()
	last, streams := event.Position(0), map[event.Stream]uint64{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for r, err := range st.Feed(ctx, eventsource.FeedOptions{Live: true}) {
		if err != nil {
			t.Fatalf("after %d records of %d streams: %v", last, len(streams), err)
		}
		if streams[r.Stream]++; r.Position != last+1 || r.Version != streams[r.Stream] {
			t.Fatalf("after position %d came %d, version %d of %s where %d was due", last, r.Position, r.Version, r.Stream, streams[r.Stream])
		}
		if last = r.Position; last >= 2000 && len(streams) >= 17 {
			return
		}
	}
}

func TestNothingAcknowledgedIsLostWhenAProcessIsKilled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db := open(t, path)
	st := sqlstore.New(db)
	var head event.Position
	for round := range 10 {
		var mu sync.Mutex
		var highest event.Position
		enough := make(chan struct{})
		n := 0
		cmd := child(t, path, func(p event.Position) {
			mu.Lock()
			defer mu.Unlock()
			highest = max(highest, p)
			if n++; n == 20+10*round {
				close(enough)
			}
		})
		<-enough
		cmd.Process.Kill() // SIGKILL
		cmd.Wait()
		mu.Lock()
		promised := highest
		mu.Unlock()
		var recs []event.Record
		for r, err := range st.Feed(t.Context(), eventsource.FeedOptions{After: head}) {
			if err != nil {
				t.Fatal(err)
			}
			recs = append(recs, r)
		}
		for i, r := range recs {
			if r.Position != head+event.Position(i)+1 {
				t.Fatalf("a hole before position %d", r.Position)
			}
		}
		if len(recs)%2 != 0 {
			t.Fatalf("half an append: %d records", len(recs))
		}
		head += event.Position(len(recs))
		if head < promised {
			t.Fatalf("position %d was acknowledged, the table ends at %d", promised, head)
		}
		// The killed process held the write lock at times: it is free again.
		if err := db.Update(t.Context(), write(round)); err != nil {
			t.Fatal(err)
		}
	}
}
