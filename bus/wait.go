package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cleave-go/cleave/event"
)

// Wait returns nil once everything that the filter lets through up to mark has
// its effect in the database or is parked, whichever instance does the work.
// The error is the context's when that ends first.
func (c *Consumer) Wait(ctx context.Context, mark event.Mark) error {
	if err := c.check(); err != nil {
		return err
	}
	want := Place{Epoch: mark.Epoch, Position: mark.Position}
	const most = 200 * time.Millisecond
	for pause := 5 * time.Millisecond; ; pause = min(2*pause, most) {
		at, err := c.await(ctx, want, pause)
		if err != nil {
			return err
		}
		behind := false
		for _, f := range at {
			done, err := c.nothingTo(ctx, f.filter, f.at, want)
			if err != nil {
				return err
			}
			if behind = !done; behind {
				break
			}
		}
		if !behind {
			return nil
		}
	}
}

// standing is where a lane stands.
type standing struct {
	filter Filter
	at     Place
}

// behind returns the lanes that have not reached want.
func (c *Consumer) behind(ctx context.Context, want Place) ([]standing, error) {
	places, err := c.Places(ctx)
	if err != nil {
		return nil, err
	}
	if len(places) == 0 {
		places = []Place{{}}
	}
	var list []standing
	for i, at := range places {
		if at.Compare(want) < 0 {
			f := c.Filter
			f.Lane, f.Of = i, len(places)
			list = append(list, standing{f, at})
		}
	}
	return list, nil
}

// await returns the lanes that have not reached want after pause; none as soon
// as all have.
func (c *Consumer) await(ctx context.Context, want Place, pause time.Duration) ([]standing, error) {
	short, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	for {
		seen := c.DB.Committed()
		behind, err := c.behind(ctx, want)
		if err != nil || len(behind) == 0 {
			return nil, err
		}
		_, err = c.DB.AwaitCommit(short, seen)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case short.Err() != nil:
			return behind, nil
		case err != nil:
			return nil, fmt.Errorf("bus: wait for consumer %s: %w", c.Name, err)
		}
	}
}

// nothingTo reports whether no message of the filter lies between at and want:
// what is waited for is none that the consumer gets.
func (c *Consumer) nothingTo(ctx context.Context, f Filter, at, want Place) (bool, error) {
	s, ok := c.Bus.(Searcher)
	if !ok {
		return false, nil
	}
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, found, err := s.Next(short, f, at, want.Position)
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if errors.Is(err, ErrAhead) {
		return false, err
	}
	return err == nil && !found, nil
}
