package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
)

// Memory is a live view: a value in memory that is built from the first event
// at each start and then follows. It has no place and no table. Set the fields,
// then call Run.
type Memory struct {
	Bus     bus.Bus
	Sources []string
	// Apply changes the view. No two calls happen at a time, nor beside Read.
	// bus.ErrNotYet has it called again with the same message; another error ends
	// Run.
	Apply  func(ctx context.Context, m bus.Message) error
	Logger *slog.Logger // Default: slog.Default()

	mu      sync.RWMutex
	at      map[string]bus.Place
	changed chan struct{} // closed, and made anew, when at changes
}

// Run builds the view and keeps it up to date until ctx ends.
func (v *Memory) Run(ctx context.Context) error {
	if v.Bus == nil || v.Apply == nil || len(v.Sources) == 0 {
		return errors.New("projection: a Memory needs Bus, Sources and Apply")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for _, source := range v.Sources {
		wg.Go(func() {
			if err := v.follow(ctx, source); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("projection: view in memory of %s: %w", source, err))
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func (v *Memory) follow(ctx context.Context, source string) error {
	f := bus.Filter{Source: source, Subjects: []string{"evt." + source + ".>"}}
	for m, err := range v.Bus.Subscribe(ctx, f, v.place(source)) {
		if err != nil {
			return err
		}
		for {
			err := v.take(event.WithMeta(ctx, event.Follows(m.Record)), m)
			if err == nil {
				break
			}
			if !errors.Is(err, bus.ErrNotYet) {
				return fmt.Errorf("position %d: %w", m.Position, err)
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return nil
			}
		}
	}
	return nil
}

func (v *Memory) place(source string) bus.Place {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.at[source]
}

func (v *Memory) take(ctx context.Context, m bus.Message) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if m.Place.Compare(v.at[m.Source]) <= 0 {
		return nil
	}
	if err := v.Apply(ctx, m); err != nil {
		return err
	}
	if v.at == nil {
		v.at = map[string]bus.Place{}
	}
	v.at[m.Source] = m.Place
	if v.changed != nil {
		close(v.changed)
		v.changed = nil
	}
	return nil
}

// Read calls f while the view does not change.
func (v *Memory) Read(f func()) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	f()
}

// Wait returns when the view includes what t names of its sources. The error is
// bus.ErrNotYet when ctx ends before.
func (v *Memory) Wait(ctx context.Context, t event.Token) error {
	for _, source := range v.Sources {
		mark, ok := t.Mark(source)
		if !ok {
			continue
		}
		if err := v.waitFor(ctx, source, bus.Place{Epoch: mark.Epoch, Position: mark.Position}); err != nil {
			return err
		}
	}
	return nil
}

func (v *Memory) waitFor(ctx context.Context, source string, want bus.Place) error {
	for {
		v.mu.Lock()
		at := v.at[source]
		if v.changed == nil {
			v.changed = make(chan struct{})
		}
		changed := v.changed
		v.mu.Unlock()
		if at.Compare(want) >= 0 {
			return nil
		}
		if s, ok := v.Bus.(bus.Searcher); ok {
			short, cancel := context.WithTimeout(ctx, time.Second)
			_, found, err := s.Next(short, bus.Filter{Source: source, Subjects: []string{"evt." + source + ".>"}}, at, want.Position)
			cancel()
			if err == nil && !found {
				return nil
			}
		}
		select {
		case <-changed:
		case <-time.After(200 * time.Millisecond): // the bus may have come further with nothing for this view
		case <-ctx.Done():
			return fmt.Errorf("projection: the view does not include position %d of %s: %w", want.Position, source, bus.ErrNotYet)
		}
	}
}
