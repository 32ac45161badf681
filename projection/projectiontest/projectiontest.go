package projectiontest

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/sqldb"
)

// NewScript returns the messages of events that source recorded one behind the
// other in one stream. Scripts of several streams and sources are joined with
// append.
func NewScript[E any](t testing.TB, source string, codec *event.Codec[E], s event.Stream, events ...E) []bus.Message {
	t.Helper()
	var list []bus.Message
	for i, e := range events {
		r, err := codec.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		r.Stream, r.Version, r.Time = s, uint64(i+1), time.Unix(1_700_000_000, 0).UTC()
		list = append(list, bus.Message{Source: source, Record: r})
	}
	return list
}

// number gives each source's messages their positions.
func number(script []bus.Message) []bus.Message {
	last := map[string]event.Position{}
	list := make([]bus.Message, len(script))
	for i, m := range script {
		last[m.Source]++
		m.Position = last[m.Source]
		m.Place = bus.Place{Epoch: "epoch", Position: m.Position, Seq: uint64(m.Position)}
		m.Subject = bus.Subject(m.Source, m.Record)
		list[i] = m
	}
	return list
}

// AppliedTwice fails t unless the view is the same whether the bus delivers
// each message once or again and again, also after a restart.
func AppliedTwice(t testing.TB, open func(t testing.TB) *sqldb.DB, p projection.Projection, script ...bus.Message) {
	t.Helper()
	script = number(script)
	want := viewOf(t, open(t), p, &scripted{script: script}, 1)
	got := viewOf(t, open(t), p, &scripted{script: script, again: true}, 2)
	compare(t, "delivered repeatedly", got, want)
}

// viewOf runs p over b until it has applied everything, so many times.
func viewOf(t testing.TB, db *sqldb.DB, p projection.Projection, b *scripted, runs int) string {
	t.Helper()
	for range runs {
		r, err := projection.NewRunner(db, b, &projection.Options{Wait: time.Minute}, p)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := r.Run(ctx); err != nil {
				t.Errorf("run: %v", err)
			}
		})
		err = r.Wait(ctx, p.Name, b.token())
		cancel()
		wg.Wait()
		if err != nil {
			t.Fatal(err)
		}
	}
	return dump(t, db)
}

// scripted is a bus that delivers a script.
type scripted struct {
	script []bus.Message
	again  bool // everything twice, and from the beginning whatever the place is
}

func (b *scripted) Publish(ctx context.Context, _ bus.Source) error { <-ctx.Done(); return nil }

func (b *scripted) Subscribe(ctx context.Context, f bus.Filter, after bus.Place) iter.Seq2[bus.Message, error] {
	return func(yield func(bus.Message, error) bool) {
		for _, m := range b.script {
			if m.Source != f.Source || !f.Match(m.Subject) || !b.again && m.Place.Compare(after) <= 0 {
				continue
			}
			if !yield(m, nil) || b.again && !yield(m, nil) {
				return
			}
		}
		<-ctx.Done()
	}
}

func (b *scripted) token() event.Token {
	var t event.Token
	for _, m := range b.script {
		t = t.With(m.Source, m.Place.Epoch, m.Position)
	}
	return t
}

// Shuffled fails t unless the view is the same in so many interleavings of the
// sources. Each source's own order is kept. A message for which Apply returns
// bus.ErrNotYet waits for those of other sources.
func Shuffled(t testing.TB, open func(t testing.TB) *sqldb.DB, p projection.Projection, seeds int, script ...bus.Message) {
	t.Helper()
	script = number(script)
	want := viewOf(t, open(t), p, &scripted{script: script}, 1)
	for seed := range seeds {
		db := open(t)
		shuffle(t, db, p, rand.New(rand.NewPCG(uint64(seed), 0)), script)
		if !compare(t, "shuffled", dump(t, db), want) {
			t.Fatalf("seed %d", seed)
		}
		db.Close()
	}
}

func shuffle(t testing.TB, db *sqldb.DB, p projection.Projection, rnd *rand.Rand, script []bus.Message) {
	t.Helper()
	var queues [][]bus.Message
	for _, source := range p.Sources {
		var q []bus.Message
		for _, m := range script {
			if m.Source == source {
				q = append(q, m)
			}
		}
		queues = append(queues, q)
	}
	for waiting := 0; ; {
		var open []int
		for i, q := range queues {
			if len(q) > 0 {
				open = append(open, i)
			}
		}
		if len(open) == 0 {
			return
		}
		i := open[rnd.IntN(len(open))]
		m := queues[i][0]
		err := db.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
			return p.Apply(event.WithMeta(ctx, event.Follows(m.Record)), tx, m)
		})
		switch {
		case err == nil:
			queues[i], waiting = queues[i][1:], 0
		case !errors.Is(err, bus.ErrNotYet):
			t.Fatalf("%s at position %d of %s: %v", m.Type, m.Position, m.Source, err)
		default:
			if waiting++; waiting > 1000 {
				t.Fatalf("%s at position %d of %s waits for ever: %v", m.Type, m.Position, m.Source, err)
			}
		}
	}
}
