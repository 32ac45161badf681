package projectiontest

import (
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/sqldb"
)

// tables are the names of all tables.
var tables = map[sqldb.Dialect]string{
	sqldb.SQLite:     `SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name`,
	sqldb.PostgreSQL: `SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename`,
}

// dump returns all rows of all tables that are not the toolkit's, in an order
// of their own.
func dump(t testing.TB, db *sqldb.DB) string {
	t.Helper()
	var all []string
	for _, table := range column(t, db, tables[db.Dialect()]) {
		if table == "schema_migration" || strings.HasPrefix(table, "es_") || strings.HasPrefix(table, "saga_") || strings.HasPrefix(table, "sqlite_") {
			continue
		}
		rows := column(t, db, `SELECT * FROM "`+table+`"`)
		slices.Sort(rows)
		for _, r := range rows {
			all = append(all, table+": "+r)
		}
	}
	return strings.Join(all, "\n")
}

// column returns each row of a query as one text.
func column(t testing.TB, db *sqldb.DB, query string) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	list, err := texts(rows)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func texts(rows *sql.Rows) ([]string, error) {
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	var list []string
	for rows.Next() {
		values, to := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			to[i] = &values[i]
		}
		if err := rows.Scan(to...); err != nil {
			return nil, err
		}
		parts := make([]string, len(names))
		for i, v := range values {
			if b, ok := v.([]byte); ok {
				v = string(b)
			}
			parts[i] = fmt.Sprint(v)
		}
		list = append(list, strings.Join(parts, " | "))
	}
	return list, rows.Err()
}

func compare(t testing.TB, what, got, want string) bool {
	t.Helper()
	if got == want {
		return true
	}
	t.Errorf("%s, the view is\n%s\nin order it is\n%s", what, got, want)
	return false
}
