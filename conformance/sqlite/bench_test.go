package sqlite_test

import (
	"path/filepath"
	"runtime"
	"testing"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
)

// BenchmarkAppend64 is durable appends of one record by 64 callers at a time.
func BenchmarkAppend64(b *testing.B) {
	db := open(b, filepath.Join(b.TempDir(), "bench.db"))
	st := sqlstore.New(db)
	before := db.Committed()
	b.SetParallelism(64 / max(1, runtime.GOMAXPROCS(0)))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		s := event.Stream{Category: "order", ID: event.NewID().String()}
		for pb.Next() {
			rec := event.Record{ID: event.NewID(), Type: "order.placed", Schema: 1, Data: []byte(`{"restaurant":"ajanta","total":1234}`)}
			if _, err := st.Append(b.Context(), s, eventsource.Any, rec); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
	b.ReportMetric(float64(b.N)/float64(db.Committed()-before), "appends/commit")
}

// BenchmarkAppend1 is the same by one caller.
func BenchmarkAppend1(b *testing.B) {
	st := sqlstore.New(open(b, filepath.Join(b.TempDir(), "bench.db")))
	s := event.Stream{Category: "order", ID: event.NewID().String()}
	for b.Loop() {
		rec := event.Record{ID: event.NewID(), Type: "order.placed", Schema: 1, Data: []byte(`{"restaurant":"ajanta","total":1234}`)}
		if _, err := st.Append(b.Context(), s, eventsource.Any, rec); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
}
