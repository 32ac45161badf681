package docs_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/projection/projectiontest"
	"github.com/cleave-go/cleave/service"
	"github.com/cleave-go/cleave/sqldb"
)

// A view of another service's events.
func balances(version int) projection.Projection {
	table := fmt.Sprintf("balance_v%d", version)
	return projection.Projection{
		Name:    "balances",
		Version: version,
		Sources: []string{"accounting"},
		Apply: projection.On(AccountCodec, func(ctx context.Context, tx sqldb.Tx, e event.Envelope[AccountEvent]) error {
			d, ok := e.Data.(Deposited)
			if !ok {
				return nil
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO `+table+` (account, cents) VALUES (?, ?)
				ON CONFLICT (account) DO UPDATE SET cents = `+table+`.cents + excluded.cents`, e.Stream.ID, d.Cents)
			return err
		}),
		Reset: func(ctx context.Context, tx sqldb.Tx) error {
			_, err := tx.ExecContext(ctx, "DELETE FROM "+table)
			return err
		},
		OnError: bus.Policy{Park: true},
	}
}

func composeViews(ctx context.Context, host *service.Host, db *sqldb.DB) (*projection.Runner, error) {
	views, err := projection.NewRunner(db, host.Bus(), nil, balances(1), balances(2))
	if err != nil {
		return nil, err
	}
	host.Run("views", views.Run)
	host.Operate("projection", views.Operations())
	return views, nil
}

// A read that includes what its caller has written.
func balance(ctx context.Context, views *projection.Runner, db *sqldb.DB, account string, t event.Token) (cents int64, err error) {
	version, err := views.WaitLive(ctx, "balances", t)
	if err != nil {
		return 0, err // bus.ErrNotYet after 2 s: the caller tries again
	}
	query := fmt.Sprintf("SELECT cents FROM balance_v%d WHERE account = ?", version)
	err = db.QueryRowContext(ctx, query, account).Scan(&cents)
	return cents, err
}

// A side effect of a view.
func congratulate(ctx context.Context, tx sqldb.Tx, e event.Envelope[AccountEvent]) error {
	past, err := projection.Past(ctx, tx)
	if err != nil || past {
		return err
	}
	_, err = outbox.Add(ctx, tx, event.Stream{Category: "letter", ID: e.Stream.ID}, event.Record{
		ID: event.DeriveID("congratulate/"+e.ID.String(), 1), Type: "letter.due", Schema: 1, Data: []byte(`{}`)})
	return err
}

// A view in the transaction of the append.
func inline(db *sqldb.DB, st eventsource.Store) (eventsource.Store, error) {
	return projection.Inline(db, "accounting", st, balances(1))
}

// A view in memory.
func counting(b bus.Bus) *projection.Memory {
	seen := map[string]int{}
	return &projection.Memory{Bus: b, Sources: []string{"accounting"},
		Apply: func(_ context.Context, m bus.Message) error {
			seen[m.Type]++
			return nil
		}}
}

func testBalances(t *testing.T, open func(t testing.TB) *sqldb.DB) {
	account := event.Stream{Category: "account", ID: "a1"}
	script := projectiontest.NewScript[AccountEvent](t, "accounting", AccountCodec, account, Deposited{500}, Deposited{250})
	projectiontest.AppliedTwice(t, open, balances(1), script...)
	projectiontest.Shuffled(t, open, balances(1), 100, script...)
}

var _ = []any{composeViews, balance, congratulate, inline, counting, testBalances}
