package sqlite_test

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cleave-go/cleave/sqldb"
)

func TestAWriterGetsOnBesideABusyHandle(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	busy, quiet := open(t, path), open(t, path)
	insert := func(ctx context.Context, tx sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO es_inbox_id VALUES (?, randomblob(16), 0)", "x")
		return err
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := busy.Update(t.Context(), insert); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for n := range 50 {
		if err := quiet.Update(t.Context(), write(n)); err != nil {
			t.Error(err)
		}
	}
	cancel()
	wg.Wait()
}
