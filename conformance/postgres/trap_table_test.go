package postgres_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cleave-go/cleave/conformance/internal/pgtest"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/eventsourcetest"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/sqldb"
)

func long() bool { return os.Getenv("CLEAVE_LONG") != "" }

func all(t testing.TB, st eventsource.Store) []event.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var recs []event.Record
	for r, err := range st.Feed(ctx, eventsource.FeedOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		recs = append(recs, r)
	}
	return recs
}

func TestTrapT04ADumpInAnotherServerGoesOn(t *testing.T) {
	s := pgtest.Shared(t)
	name, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	st := sqlstore.New(open(t, s.URL("app", name), nil))
	for range 10 {
		appended(t, st, stream(1), eventsource.Any, record())
	}
	dump, err := s.Dump(name)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := pgtest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fresh.Stop)
	copied, err := fresh.Create()
	if err == nil {
		err = fresh.Load(copied, dump)
	}
	if err != nil {
		t.Fatal(err)
	}
	restored := sqlstore.New(open(t, fresh.URL("app", copied), nil))
	if c := appended(t, restored, stream(1), eventsource.At(10), record()); c.Position != 11 {
		t.Errorf("the restored table goes on at position %d", c.Position)
	}
	if n := len(all(t, restored)); n != 11 {
		t.Errorf("the feed shows %d records", n)
	}
}

func TestTrapT06AWideGapIsPassedByARebuildDuringAppends(t *testing.T) {
	db := open(t, pgtest.Database(t), nil)
	st := sqlstore.New(db)
	const each = 40
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for n := range each {
				if n%10 == 0 {
					if err := db.Write(t.Context(), "SELECT setval('es_position', nextval('es_position') + 300)", nil, nil); err != nil {
						t.Error(err)
					}
				}
				appended(t, st, stream(w), eventsource.Any, record())
			}
		})
	}
	for n := 0; n < 4*each; {
		recs := all(t, st)
		versions := map[event.Stream]uint64{}
		for _, r := range recs {
			if versions[r.Stream]++; r.Version != versions[r.Stream] {
				t.Fatalf("%s: version %d where %d was due", r.Stream, r.Version, versions[r.Stream])
			}
		}
		if len(recs) < n {
			t.Fatalf("%d records, and %d before", len(recs), n)
		}
		n = len(recs)
	}
	wg.Wait()
}

func TestTrapT07AServerThatCrashesLosesNothingAndTheFeedGoesOn(t *testing.T) {
	s, err := pgtest.Start("fsync=on", "full_page_writes=on")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	name, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	st := sqlstore.New(open(t, s.URL("app", name), nil))
	for round := range 2 {
		var mu sync.Mutex
		promised := map[event.ID]bool{}
		var wg sync.WaitGroup
		for w := range 8 {
			wg.Go(func() {
				for n := 0; ; n++ {
					r := record()
					if _, err := st.Append(t.Context(), stream(fmt.Sprint(round, w)), eventsource.Any, r); err != nil {
						return
					}
					mu.Lock()
					promised[r.ID] = true
					mu.Unlock()
				}
			})
		}
		time.Sleep(300 * time.Millisecond) // of load
		s.Crash()
		wg.Wait()
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		appended(t, st, stream("after"), eventsource.Any, record())
		for _, r := range all(t, st) {
			delete(promised, r.ID)
		}
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("the feed went on after %v", d)
		}
		if len(promised) > 0 {
			t.Errorf("%d records were acknowledged and are gone", len(promised))
		}
	}
}

func TestTrapT07ASequenceThatDrawsAheadIsRefused(t *testing.T) {
	db := open(t, pgtest.Database(t), nil)
	if _, err := db.SQL().ExecContext(t.Context(), "ALTER SEQUENCE es_position CACHE 32"); err != nil {
		t.Fatal(err)
	}
	if err := sqlstore.Setup(t.Context(), db); err == nil || !strings.Contains(err.Error(), "CACHE 32") {
		t.Errorf("got %v", err)
	}
}

func TestTrapT08AConflictUsesNoPosition(t *testing.T) {
	db := open(t, pgtest.Database(t), nil)
	st := sqlstore.New(db)
	recs := []event.Record{record(), record()}
	appended(t, st, stream(1), eventsource.NoStream, recs...)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			for n := range 100 {
				x := []eventsource.Expect{eventsource.NoStream, eventsource.At(1), eventsource.At(7)}[n%3]
				if _, err := st.Append(t.Context(), stream(1), x, record()); !errors.Is(err, eventsource.ErrConflict) {
					t.Errorf("got %v", err)
				}
			}
		})
	}
	wg.Wait()
	if c := appended(t, st, stream(1), eventsource.NoStream, recs...); !c.Replayed {
		t.Errorf("got %+v", c)
	}
	if _, err := st.Append(t.Context(), stream("none"), eventsource.Exists, record()); !errors.Is(err, eventsource.ErrConflict) {
		t.Errorf("got %v", err)
	}
	err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		for range 10 {
			if _, err := st.In(tx).Append(ctx, stream(1), eventsource.At(1), record()); !errors.Is(err, eventsource.ErrConflict) {
				t.Errorf("got %v", err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if c := appended(t, st, stream(1), eventsource.At(2), record()); c.Position != 3 {
		t.Errorf("the next append is at position %d", c.Position)
	}
}

func TestTrapT09OfTwoThatRaceOneConflictsWithTheActualVersion(t *testing.T) {
	url := pgtest.Database(t)
	stores := []*sqlstore.Store{sqlstore.New(open(t, url, nil)), sqlstore.New(open(t, url, nil))}
	for n := range 100 {
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i, st := range stores {
			wg.Go(func() { _, errs[i] = st.Append(t.Context(), stream(n), eventsource.NoStream, record(), record()) })
		}
		wg.Wait()
		if errs[0] != nil {
			errs[0], errs[1] = errs[1], errs[0]
		}
		var conflict *eventsource.ConflictError
		if errs[0] != nil || !errors.As(errs[1], &conflict) || conflict.Actual != 2 {
			t.Fatalf("round %d: %v", n, errs)
		}
	}
}

func TestTrapT25TheStoreWorksThroughAPoolerOfTransactions(t *testing.T) {
	behind := pgtest.Bouncer(t)
	eventsourcetest.Run(t, func(t *testing.T) eventsourcetest.Backend {
		db := open(t, behind(pgtest.Database(t)), nil)
		return eventsourcetest.Backend{Store: sqlstore.New(db), Update: db.Update, Gaps: true}
	})
}

func TestTrapT26APageOfTheFeedIsARangeOfTheIndex(t *testing.T) {
	db := open(t, pgtest.Database(t), nil)
	rows := 50_000
	if long() {
		rows = 1_000_000
	}
	if err := db.Write(t.Context(), `INSERT INTO es_event (event_id, category, stream_id, version, type, schema, data, meta, recorded_at)
		SELECT uuid_send(gen_random_uuid()), 'order', (n % 1000)::text, n, 'x', 1, '\x7b7d', '{}', 0 FROM generate_series(1, ?) n`, []any{rows}, nil); err != nil {
		t.Fatal(err)
	}
	for _, analyzed := range []bool{false, true} {
		if analyzed {
			if err := db.Write(t.Context(), "ANALYZE es_event", nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		plan := ""
		err := db.View(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
			lines, err := tx.QueryContext(ctx, "EXPLAIN ANALYZE SELECT position, data FROM es_event WHERE position > ? ORDER BY position LIMIT ?", rows/2, 512)
			if err != nil {
				return err
			}
			defer lines.Close()
			for lines.Next() {
				var line string
				if err := lines.Scan(&line); err != nil {
					return err
				}
				plan += line + "\n"
			}
			return lines.Err()
		})
		if err != nil || !strings.Contains(plan, "Index Scan using es_event_pkey") || !strings.Contains(plan, "rows=512 loops=1") {
			t.Errorf("analyzed %v: %v\n%s", analyzed, err, plan)
		}
	}
}

func TestTrapT27DataComesBackAsItWas(t *testing.T) {
	st := sqlstore.New(open(t, pgtest.Database(t), nil))
	random := rand.New(rand.NewPCG(1, 2))
	var recs []event.Record
	for _, data := range []string{`{"b":1,"a":1.0,"a":1e400}`, `"\u0000"`, `{"n":12345678901234567890.10}`, ` [ 1 ,2]`, `"é🙂"`} {
		r := record()
		r.Data = json.RawMessage(data)
		r.Meta = event.Meta{Correlation: "c", Ext: map[string]string{"k": "zero\x00byte"}}
		if r.Meta.Check() != nil {
			r.Meta.Ext = nil
		}
		recs = append(recs, r)
	}
	for range 200 {
		r := record()
		r.Data = make([]byte, random.IntN(4000))
		for i := range r.Data {
			r.Data[i] = byte(random.Uint32())
		}
		recs = append(recs, r)
	}
	appended(t, st, stream(1), eventsource.Any, recs...)
	for i, got := range all(t, st) {
		if !bytes.Equal(got.Data, recs[i].Data) || got.ID != recs[i].ID || fmt.Sprint(got.Meta) != fmt.Sprint(recs[i].Meta) {
			t.Errorf("record %d came back as %q, %v", i, got.Data, got.Meta)
		}
	}
}
