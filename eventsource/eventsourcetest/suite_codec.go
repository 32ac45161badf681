package eventsourcetest

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
)

// countedV1 is what counted was once.
type countedV1 struct{ Times []int }

// newer is the counter of the next release: with another schema and another type.
func newer() eventsource.Decider[int, add, counterEvent] {
	d := counter
	d.Codec = event.NewCodec[counterEvent](
		event.Of[counted]("counter.counted", 2, event.Up(1, func(o countedV1) counted { return counted{len(o.Times)} })),
		event.Of[reset]("counter.reset", 1))
	d.Evolve = func(n int, e counterEvent) int {
		if c, ok := e.(counted); ok {
			return n + c.By
		}
		return 0
	}
	return d
}

type reset struct{}

func (reset) counterEvent() {}

func countedRecord(schema int, data string) event.Record {
	return event.Record{ID: event.NewID(), Type: "counter.counted", Schema: schema, Data: []byte(data)}
}

func wantLoadError(t *testing.T, b Backend, d eventsource.Decider[int, add, counterEvent], target error) {
	t.Helper()
	repo := eventsource.NewRepository(b.Store, d)
	got, err := repo.Load(t.Context(), "1")
	if err == nil || target != nil && !errors.Is(err, target) || got.Version != 0 {
		t.Errorf("loaded %+v, %v, want the error %v", got, err, target)
	}
	head, _ := b.Store.Head(t.Context())
	if _, err := repo.Handle(t.Context(), "1", add{N: 1}); err == nil {
		t.Error("a command was decided on half a past")
	}
	wantHead(t, b.Store, head)
}

var codecCases = []testcase{
	{"data of a past schema is read as today's", func(t *testing.T, b Backend) {
		appended(t, b.Store, counterStream, eventsource.Any, countedRecord(1, `{"Times":[7,8,9]}`), countedRecord(2, `{"By":10}`))
		wantState(t, b.Other, newer(), 13, 2)
	}},
	{"what is appended behind data of a past schema has today's", func(t *testing.T, b Backend) {
		appended(t, b.Store, counterStream, eventsource.Any, countedRecord(1, `{"Times":[7]}`))
		counting(t, eventsource.NewRepository(b.Store, newer()), 1)
		recs := read(t, b.Store, counterStream, eventsource.ReadOptions{})
		if recs[0].Schema != 1 || string(recs[0].Data) != `{"Times":[7]}` || recs[1].Schema != 2 {
			t.Errorf("got %+v", recs)
		}
		wantState(t, b.Store, newer(), 2, 2)
	}},
	{"a schema of the next release is an error, not a guess", func(t *testing.T, b Backend) {
		appended(t, b.Store, counterStream, eventsource.Any, countedRecord(1, `{"By":1}`), countedRecord(2, `{"By":1}`))
		wantLoadError(t, b, counter, event.ErrUnknownSchema)
	}},
	{"a type of the next release is an error, not a gap", func(t *testing.T, b Backend) {
		appended(t, b.Store, counterStream, eventsource.Any, countedRecord(1, `{"By":1}`),
			event.Record{ID: event.NewID(), Type: "counter.reset", Schema: 1, Data: []byte(`{}`)})
		wantLoadError(t, b, counter, event.ErrUnknownType)
		wantState(t, b.Store, newer(), 0, 2)
	}},
	{"data that is damaged is an error that names the event", func(t *testing.T, b Backend) {
		appended(t, b.Store, counterStream, eventsource.Any, countedRecord(1, `{"By":1}`), countedRecord(1, `{"By":`))
		wantLoadError(t, b, counter, nil)
	}},
	{"data of another form is an error", func(t *testing.T, b Backend) {
		appended(t, b.Store, counterStream, eventsource.Any, countedRecord(1, `{"By":"many"}`))
		wantLoadError(t, b, counter, nil)
	}},
	{"fields that nobody knows are let be", func(t *testing.T, b Backend) {
		appended(t, b.Store, counterStream, eventsource.Any, countedRecord(1, `{"By":4,"Why":"unknown"}`))
		wantState(t, b.Store, counter, 4, 1)
	}},
	{"fields that are missing are zero", func(t *testing.T, b Backend) {
		appended(t, b.Store, counterStream, eventsource.Any, countedRecord(1, `{}`))
		wantState(t, b.Store, counter, 0, 1)
	}},
	{"an envelope says where its event is", func(t *testing.T, b Backend) {
		ctx := event.WithMeta(t.Context(), event.Meta{Correlation: "c", Tags: []string{"x"}})
		if _, err := eventsource.NewRepository(b.Store, counter).Handle(ctx, "1", add{N: 2}); err != nil {
			t.Fatal(err)
		}
		rec := read(t, b.Store, counterStream, eventsource.ReadOptions{})[0]
		env, err := counter.Codec.Decode(rec)
		if err != nil || env.Stream != counterStream || env.Version != 1 || env.Position != 1 || env.ID != rec.ID || !env.Time.Equal(rec.Time) ||
			env.Meta.Correlation != "c" || env.Data != counterEvent(counted{2}) {
			t.Errorf("got %+v, %v", env, err)
		}
	}},
	{"an event that the codec does not name is not recorded", func(t *testing.T, b Backend) {
		_, err := eventsource.NewRepository(b.Store, counter).Do(t.Context(), "1", func(int) ([]counterEvent, error) {
			return []counterEvent{counted{1}, reset{}}, nil
		})
		if !errors.Is(err, event.ErrUnknownType) {
			t.Errorf("got %v", err)
		}
		wantHead(t, b.Store, 0)
	}},
}

var handleCases = []testcase{
	{"aggregates of one decider do not mix", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		for n := range 5 {
			if _, err := repo.Handle(t.Context(), fmt.Sprint(n), add{N: n * 10}); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 5 {
			if got, err := repo.Load(t.Context(), fmt.Sprint(n)); err != nil || got.State != n*10 {
				t.Errorf("%d: got %+v, %v", n, got, err)
			}
		}
	}},
	{"deciders of two categories do not mix", func(t *testing.T, b Backend) {
		other := counter
		other.Category = "meter"
		counting(t, eventsource.NewRepository(b.Store, counter), 2)
		if got, err := eventsource.NewRepository(b.Store, other).Load(t.Context(), "1"); err != nil || got.Version != 0 {
			t.Errorf("got %+v, %v", got, err)
		}
	}},
	{"IfVersion ahead of the aggregate conflicts at once", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		calls := 0
		_, err := repo.Do(t.Context(), "1", func(int) ([]counterEvent, error) { calls++; return nil, nil }, eventsource.IfVersion(3))
		var conflict *eventsource.ConflictError
		if !errors.As(err, &conflict) || conflict.Actual != 0 || calls != 0 {
			t.Errorf("%d calls, %v", calls, err)
		}
	}},
	{"IfVersion is not tried again when another writer was faster", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		calls := 0
		_, err := repo.Do(t.Context(), "1", func(int) ([]counterEvent, error) {
			calls++
			appended(t, b.Other, counterStream, eventsource.Any, countedRecord(1, `{"By":1}`))
			return []counterEvent{counted{1}}, nil
		}, eventsource.IfVersion(0))
		if !errors.Is(err, eventsource.ErrConflict) || calls != 1 {
			t.Errorf("%d calls, %v", calls, err)
		}
	}},
	{"a repeated command is answered although its version has passed", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		for i := range 3 {
			c, err := repo.Handle(t.Context(), "1", add{N: 1}, eventsource.IfVersion(0), eventsource.Idempotent("k"))
			if err != nil || c.Version != 1 || c.Replayed != (i > 0) {
				t.Errorf("got %+v, %v", c, err)
			}
		}
	}},
	{"a repeated command of several events is answered with the last", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		for i := range 2 {
			c, err := repo.Handle(t.Context(), "1", add{N: 1, Events: 3}, eventsource.Idempotent("k"))
			if err != nil || c.Version != 4 || c.Position != 4 || c.Replayed != (i > 0) {
				t.Errorf("got %+v, %v", c, err)
			}
			counting(t, repo, 1)
		}
		wantState(t, b.Store, counter, 3, 6)
	}},
	{"a repeated command that would make other events now is answered as it was", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		first, err := repo.Handle(t.Context(), "1", add{N: 1}, eventsource.Idempotent("k"))
		if err != nil {
			t.Fatal(err)
		}
		again, err := repo.Handle(t.Context(), "1", add{N: 2, Events: 5}, eventsource.Idempotent("k"))
		if first.Replayed = true; err != nil || again != first {
			t.Errorf("got %+v, %v, want %+v", again, err, first)
		}
	}},
	{"a command that made no event is decided again", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		if c, err := repo.Handle(t.Context(), "1", add{}, eventsource.Idempotent("k")); err != nil || c.Version != 0 {
			t.Errorf("got %+v, %v", c, err)
		}
		if c, err := repo.Handle(t.Context(), "1", add{N: 1}, eventsource.Idempotent("k")); err != nil || c.Version != 1 || c.Replayed {
			t.Errorf("got %+v, %v", c, err)
		}
	}},
	{"two commands with two keys have two effects", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		for _, key := range []string{"a", "b", "A", "a "} {
			if c, err := repo.Handle(t.Context(), "1", add{N: 1}, eventsource.Idempotent(key)); err != nil || c.Replayed {
				t.Errorf("got %+v, %v", c, err)
			}
		}
		wantState(t, b.Store, counter, 4, 4)
	}},
	{"a command repeated in a transaction is found there", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		update(t, b, nil, func(ctx context.Context, in eventsource.Store) {
			repo := eventsource.NewRepository(in, counter)
			for i := range 2 {
				if c, err := repo.Handle(ctx, "1", add{N: 1}, eventsource.Idempotent("k")); err != nil || c.Replayed != (i > 0) {
					t.Errorf("got %+v, %v", c, err)
				}
			}
		})
		if c, err := repo.Handle(t.Context(), "1", add{N: 1}, eventsource.Idempotent("k")); err != nil || !c.Replayed {
			t.Errorf("got %+v, %v", c, err)
		}
	}},
	{"a decision of more events than one append takes is refused whole", func(t *testing.T, b Backend) {
		if _, err := eventsource.NewRepository(b.Store, counter).Handle(t.Context(), "1", add{N: 1, Events: eventsource.MaxAppend}); err == nil {
			t.Error("it was appended")
		}
		wantHead(t, b.Store, 0)
	}},
	{"a decision that panics writes nothing", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		func() {
			defer func() {
				if recover() != "boom" {
					t.Error("the panic did not come through")
				}
			}()
			repo.Do(t.Context(), "1", func(int) ([]counterEvent, error) { panic("boom") })
		}()
		counting(t, repo, 1)
		wantState(t, b.Store, counter, 1, 1)
	}},
	{"a context that has ended decides nothing", func(t *testing.T, b Backend) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := eventsource.NewRepository(b.Store, counter).Handle(ctx, "1", add{N: 1})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		wantHead(t, b.Store, 0)
	}},
	{"the position of a commit is a token for reading it", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		c, err := repo.Handle(t.Context(), "1", add{N: 1, Events: 2})
		if err != nil {
			t.Fatal(err)
		}
		wantHead(t, b.Other, c.Position)
		if got, err := repo.Load(t.Context(), "1"); err != nil || got.Position != c.Position || got.Version != c.Version {
			t.Errorf("got %+v, %v, want %+v", got, err, c)
		}
	}},
	{"events of one decision share their metadata, and tags of the call are added", func(t *testing.T, b Backend) {
		ctx := event.WithMeta(t.Context(), event.Meta{Correlation: "c", Tenant: "acme", Tags: []string{"a"}})
		if _, err := eventsource.NewRepository(b.Store, counter).Handle(ctx, "1", add{N: 1, Events: 1}, eventsource.WithMeta(event.Meta{Tags: []string{"b"}})); err != nil {
			t.Fatal(err)
		}
		for _, r := range read(t, b.Store, counterStream, eventsource.ReadOptions{}) {
			if r.Meta.Tenant != "acme" || r.Meta.Correlation != "c" || fmt.Sprint(r.Meta.Tags) != "[a b]" || r.Meta.Causation != "" {
				t.Errorf("got %+v", r.Meta)
			}
		}
	}},
	{"what is done because of an event carries its correlation and causation on", func(t *testing.T, b Backend) {
		repo := eventsource.NewRepository(b.Store, counter)
		counting(t, repo, 1)
		first := read(t, b.Store, counterStream, eventsource.ReadOptions{})[0]
		if _, err := repo.Handle(event.WithMeta(t.Context(), event.Follows(first)), "2", add{N: 1}); err != nil {
			t.Fatal(err)
		}
		second := feed(t, b.Store, eventsource.FeedOptions{After: 1})[0]
		if second.Meta.Causation != first.ID.String() || second.Meta.Correlation != first.Meta.Correlation || first.Meta.Correlation == "" {
			t.Errorf("%+v follows %+v", second.Meta, first.Meta)
		}
	}},
}
