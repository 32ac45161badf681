package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/sqldb"
)

// An event and a row of the service's own commit together.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(dir, "order.db"), nil)
	if err != nil {
		panic(err)
	}
	defer db.Close()
	if err := sqlstore.Setup(ctx, db); err != nil {
		panic(err)
	}
	st := sqlstore.New(db)
	err = db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		if _, err := tx.ExecContext(ctx, "CREATE TABLE seen (id TEXT)"); err != nil {
			return err
		}
		_, err := st.In(tx).Append(ctx, event.Stream{Category: "order", ID: "1"}, eventsource.NoStream,
			event.Record{ID: event.NewID(), Type: "order.placed", Schema: 1, Data: []byte(`{"total":1234}`)})
		return err
	})
	fmt.Println(err)
	for r, err := range st.Feed(ctx, eventsource.FeedOptions{}) {
		fmt.Println(r.Position, r.Stream, r.Version, r.Type, string(r.Data), err)
	}
	// Output:
	// <nil>
	// 1 order/1 1 order.placed {"total":1234} <nil>
}
