package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"testing/fstest"

	"github.com/cleave-go/cleave/sqldb"
)

var errNoMoney = errors.New("the account does not hold that much")

// A program that runs this imports modernc.org/sqlite, or package kit.
func ExampleDB_Update() {
	ctx := context.Background()
	db, err := sqldb.Open(ctx, "sqlite:bank.db", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	migrations := fstest.MapFS{ // a folder, with embed
		"001_account.sql": {Data: []byte("CREATE TABLE account (id TEXT PRIMARY KEY, cents INTEGER NOT NULL) STRICT")},
	}
	if err := db.Migrate(ctx, migrations); err != nil {
		fmt.Println(err)
		return
	}
	err = db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		var cents int64
		if err := tx.QueryRowContext(ctx, "SELECT cents FROM account WHERE id = ?", "ana").Scan(&cents); err != nil {
			return err
		}
		if cents < 500 {
			return errNoMoney // and nothing is written
		}
		_, err := tx.ExecContext(ctx, "UPDATE account SET cents = cents - ? WHERE id = ?", 500, "ana")
		return err
	})
	fmt.Println(err)
}
