package bustest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
)

// Table is a source in memory. All methods may be called at the same time.
type Table struct {
	name string

	mu       sync.Mutex
	epoch    string
	later    []bus.Epoch
	rows     []event.Record
	versions map[event.Stream]uint64
	note     bus.Place
	changed  chan struct{} // closed, and made anew, when a row comes
}

var (
	_ bus.Source = (*Table)(nil)
	_ bus.Noter  = (*Table)(nil)
)

// NewTable returns an empty table of a service.
func NewTable(name string) *Table {
	return &Table{name: name, epoch: "018f0000-0000-7000-8000-000000000001", versions: make(map[event.Stream]uint64), changed: make(chan struct{})}
}

// Add records n events more, of stream order/<position mod 7>, type
// "order.counted" and data {"n":<position>}.
func (t *Table) Add(n int) {
	for range n {
		t.AddTo(event.Stream{Category: "order"}, "order.counted")
	}
}

// AddTo records one event. A stream without id gets one of seven.
func (t *Table) AddTo(s event.Stream, kind string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := event.Position(len(t.rows) + 1)
	if s.ID == "" {
		s.ID = fmt.Sprint(p % 7)
	}
	t.versions[s]++
	t.rows = append(t.rows, event.Record{
		ID: id(bus.EpochAt(append([]bus.Epoch{{Name: t.epoch}}, t.later...), p), p), Stream: s, Version: t.versions[s], Position: p, Type: kind, Schema: 1,
		Time: time.Unix(1_700_000_000, int64(p)*1000).UTC(),
		Meta: event.Meta{Correlation: fmt.Sprintf("c-%d", p), Tags: []string{"a:b", "c"}},
		Data: json.RawMessage(fmt.Sprintf(`{"n":%d}`, p)),
	})
	close(t.changed)
	t.changed = make(chan struct{})
}

func id(epoch string, p event.Position) (id event.ID) {
	id[6], id[7], id[8] = 0x70, epoch[len(epoch)-1], 0x80
	binary.BigEndian.PutUint32(id[12:], uint32(p))
	return id
}

// Cut removes the rows behind position p, as restoring an older copy does.
func (t *Table) Cut(p event.Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = t.rows[:p:p]
}

// SetEpoch gives the table another epoch.
func (t *Table) SetEpoch(epoch string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.epoch = epoch
	t.later = nil
}

// NewEpoch has the table go on in a later epoch, behind its last row.
func (t *Table) NewEpoch(epoch string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.later = append(t.later, bus.Epoch{Name: epoch, After: event.Position(len(t.rows))})
}

// Name implements bus.Source.
func (t *Table) Name() string { return t.name }

// Epochs implements bus.Source.
func (t *Table) Epochs(context.Context) ([]bus.Epoch, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]bus.Epoch{{Name: t.epoch}}, t.later...), nil
}

// Head implements bus.Source.
func (t *Table) Head(context.Context) (event.Position, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return event.Position(len(t.rows)), nil
}

// Feed implements bus.Source.
func (t *Table) Feed(ctx context.Context, after event.Position, live bool) iter.Seq2[event.Record, error] {
	return func(yield func(event.Record, error) bool) {
		for {
			t.mu.Lock()
			rows, changed := t.rows, t.changed
			t.mu.Unlock()
			for int(after) < len(rows) {
				if ctx.Err() != nil || !yield(rows[after], nil) {
					return
				}
				after++
			}
			if !live {
				return
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}
}

// Published implements bus.Noter.
func (t *Table) Published(context.Context) (bus.Place, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.note, nil
}

// NotePublished implements bus.Noter.
func (t *Table) NotePublished(_ context.Context, p bus.Place) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.note = p
	return nil
}
