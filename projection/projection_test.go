package projection_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/sqldb"
)

type placed struct{ Total int }

var codec = event.NewCodec[any](event.Of[placed]("order.placed", 2, event.Up(1, func(old struct{ Cents int }) placed { return placed{old.Cents / 100} })))

func message(source, kind string, schema int, data string) bus.Message {
	return bus.Message{Source: source, Record: event.Record{ID: event.NewID(), Type: kind, Schema: schema, Data: []byte(data)}}
}

func TestHandlersSeeWhatTheirCodecKnows(t *testing.T) {
	boom := errors.New("boom")
	tests := []struct {
		name string
		m    bus.Message
		want []string
		err  error
	}{
		{"a known type is decoded", message("order", "order.placed", 2, `{"Total":5}`), []string{"all 5", "order 5"}, nil},
		{"an older schema is brought up to date", message("order", "order.placed", 1, `{"Cents":500}`), []string{"all 5", "order 5"}, nil},
		{"another source is kept from a handler that wants one", message("kitchen", "order.placed", 2, `{"Total":5}`), []string{"all 5"}, nil},
		{"an unknown type is passed over", message("order", "order.shipped", 1, `{}`), nil, nil},
		{"a schema of a newer version is an error", message("order", "order.placed", 3, `{}`), nil, event.ErrUnknownSchema},
		{"an error stops at the first handler", message("order", "order.placed", 2, `{"Total":-1}`), []string{"all -1"}, boom},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			note := func(who string) projection.Handler {
				return projection.On(codec, func(_ context.Context, _ sqldb.Tx, e event.Envelope[any]) error {
					total := e.Data.(placed).Total
					got = append(got, fmt.Sprint(who, " ", total))
					if total < 0 {
						return boom
					}
					return nil
				})
			}
			err := projection.Join(note("all"), projection.From("order", note("order")))(t.Context(), nil, tt.m)
			if !slices.Equal(got, tt.want) || !errors.Is(err, tt.err) {
				t.Errorf("got %v, %v, want %v, %v", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestNewRunnerSaysWhatIsWrong(t *testing.T) {
	apply := projection.Join()
	ok := projection.Projection{Name: "a", Sources: []string{"order"}, Apply: apply}
	newer := ok
	newer.Version = 1
	if _, err := projection.NewRunner(nil, nil, nil, ok, newer); err != nil {
		t.Error(err)
	}
	for name, ps := range map[string][]projection.Projection{
		"no name":      {{Sources: []string{"order"}, Apply: apply}},
		"no source":    {{Name: "a", Apply: apply}},
		"empty source": {{Name: "a", Sources: []string{""}, Apply: apply}},
		"no Apply":     {{Name: "a", Sources: []string{"order"}}},
		"one version":  {ok, ok},
		"lanes":        {{Name: "a", Sources: []string{"order"}, Apply: apply, Lanes: 65}},
		"version":      {{Name: "a", Version: -1, Sources: []string{"order"}, Apply: apply}},
	} {
		if _, err := projection.NewRunner(nil, nil, nil, ps...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
