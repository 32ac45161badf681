package saga_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus/membus"
	"github.com/cleave-go/cleave/conformance/internal/dbtest"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/saga"
	"github.com/cleave-go/cleave/sqldb"
)

// A saga goes on by the definition that it was started with, while new ones go
// by the new.
func TestDefinitionsAreVersionedWhileSagasRun(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, e dbtest.Engine) {
		b := membus.New()
		orders, kitchen := e.Open(t, nil), e.Open(t, nil)
		err := errors.Join(outbox.Setup(t.Context(), orders), outbox.Setup(t.Context(), kitchen), saga.Setup(t.Context(), orders),
			orders.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
				_, err := tx.ExecContext(ctx, `CREATE TABLE note (text TEXT NOT NULL)`)
				return err
			}))
		if err != nil {
			t.Fatal(err)
		}
		note := func(text string) saga.Step[order] {
			return saga.Local(text, func(ctx context.Context, tx sqldb.Tx, o *order) error {
				_, err := tx.ExecContext(ctx, `INSERT INTO note (text) VALUES (?)`, o.ID+" "+text)
				return err
			})
		}
		cook := saga.Call("ticket", createTicket, orderRef, func(o *order, t ticket) { o.Ticket = t.Ticket })
		old := saga.Define("sell", cook.Undo(saga.Command(cancelTicket, undoRef)), note("old"))
		now := saga.Define("sell", note("first").Undo(saga.Locally(setOrder("rejected"))), cook.Undo(saga.Command(cancelTicket, undoRef)), note("new")).Version(1)

		run := func(runs ...func(context.Context) error) (stop func()) {
			ctx, cancel := context.WithCancel(context.Background())
			var wg sync.WaitGroup
			for _, f := range runs {
				wg.Go(func() {
					if err := f(ctx); err != nil && ctx.Err() == nil {
						t.Error(err)
					}
				})
			}
			stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
			t.Cleanup(stop)
			return stop
		}
		orchestrator := func(sagas ...saga.Definition) *saga.Orchestrator {
			o, err := saga.NewOrchestrator("order", orders, b, &saga.Options{Logger: quiet}, sagas...)
			if err != nil {
				t.Fatal(err)
			}
			return o
		}
		begin := func(s *saga.Saga[order], id string) {
			err := orders.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
				_, err := s.Start(ctx, tx, id, order{ID: id})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		relays := []func(context.Context) error{outbox.NewRelay("order", orders, b, nil).Run, outbox.NewRelay("kitchen", kitchen, b, nil).Run}
		stop := run(append(relays, orchestrator(old).Run)...)
		begin(old, "a")
		stop() // the kitchen has not answered

		participant, err := saga.NewParticipant("kitchen", kitchen, b, []string{"order"}, &saga.Options{Logger: quiet},
			saga.Handle(createTicket, func(context.Context, sqldb.Tx, ref) (ticket, error) { return ticket{"t"}, nil }))
		if err != nil {
			t.Fatal(err)
		}
		both := orchestrator(old, now)
		defer run(append(relays, participant.Run, both.Run)...)()
		begin(now, "b")
		for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			list, err := both.List(t.Context(), true)
			if err != nil || time.Now().After(end) {
				t.Fatalf("not ended: %v", err)
			}
			if len(list) == 2 {
				break
			}
		}
		want := map[string]bool{"a old": true, "b first": true, "b new": true}
		rows, err := orders.QueryContext(t.Context(), `SELECT text FROM note`)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil || !want[text] {
				t.Errorf("noted %q, %v", text, err)
			}
			delete(want, text)
		}
		if len(want) > 0 {
			t.Errorf("not noted: %v", want)
		}
	})
}
