package memstore_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/eventsourcetest"
	"github.com/cleave-go/cleave/eventsource/memstore"
	"github.com/cleave-go/cleave/sqldb"
)

func TestStore(t *testing.T) {
	eventsourcetest.Run(t, func(*testing.T) eventsourcetest.Backend {
		st := memstore.New()
		return eventsourcetest.Backend{Store: st, Update: st.Update}
	})
}

// TestRandomTransactions runs a million with CLEAVE_LONG.
func TestRandomTransactions(t *testing.T) {
	n := 3000
	if os.Getenv("CLEAVE_LONG") != "" {
		n = 1_000_000
	}
	st := memstore.New()
	eventsourcetest.Random(t, eventsourcetest.Backend{Store: st, Update: st.Update}, n)
}

func TestInRefusesATransactionOfAnotherStore(t *testing.T) {
	one, other := memstore.New(), memstore.New()
	err := one.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		if _, err := other.In(tx).Head(ctx); err == nil {
			t.Error("it read")
		}
		_, err := other.In(tx).Epoch(ctx)
		return err
	})
	if err == nil {
		t.Error("no error")
	}
}

func TestATransactionInMemoryRunsNoSQL(t *testing.T) {
	st := memstore.New()
	err := st.Update(t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		var n int
		if err := tx.QueryRowContext(ctx, "SELECT 1").Scan(&n); !errors.Is(err, memstore.ErrNoSQL) {
			t.Errorf("got %v", err)
		}
		if _, err := tx.QueryContext(ctx, "SELECT 1"); !errors.Is(err, memstore.ErrNoSQL) {
			t.Errorf("got %v", err)
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM x")
		return err
	})
	if !errors.Is(err, memstore.ErrNoSQL) {
		t.Errorf("got %v", err)
	}
	var _ eventsource.Store = st
}
