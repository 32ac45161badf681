package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cleave-go/cleave/event"
)

// Wait returns nil once everything that the filter lets through up to mark has
// its effect in the database, whichever instance does the work. The error is
// the context's when that ends first.
func (c *Consumer) Wait(ctx context.Context, mark event.Mark) error {
	if err := c.check(); err != nil {
		return err
	}
	want := Place{Epoch: mark.Epoch, Position: mark.Position}
	const most = 200 * time.Millisecond
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, most) {
		at, err := c.await(ctx, want, pause)
		if err != nil || at.Compare(want) >= 0 {
			return err
		}
		if done, err := c.nothingTo(ctx, at, want); err != nil || done {
			return err
		}
	}
}

// await returns the place when it has reached want, or after pause.
func (c *Consumer) await(ctx context.Context, want Place, pause time.Duration) (Place, error) {
	short, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	for {
		seen := c.DB.Committed()
		at, err := c.Place(ctx)
		if err != nil || at.Compare(want) >= 0 {
			return at, err
		}
		_, err = c.DB.AwaitCommit(short, seen)
		switch {
		case ctx.Err() != nil:
			return at, ctx.Err()
		case short.Err() != nil:
			return at, nil
		case err != nil:
			return at, fmt.Errorf("bus: wait for consumer %s: %w", c.Name, err)
		}
	}
}

// nothingTo reports whether no message of the filter lies between at and want:
// what is waited for is none that the consumer gets.
func (c *Consumer) nothingTo(ctx context.Context, at, want Place) (bool, error) {
	s, ok := c.Bus.(Searcher)
	if !ok {
		return false, nil
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, found, err := s.Next(short, c.Filter, at, want.Position)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if errors.Is(err, ErrAhead) {
		return false, err
	}
	return err == nil && !found, nil
}
