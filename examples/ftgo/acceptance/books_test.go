package acceptance_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/cleave-go/cleave/kit" // links the database's driver
)

// books reads the databases of all services, side by side, while they run.
type books struct {
	conn   *sql.Conn
	before int64 // the last position of the order service when they were opened
}

var owners = []string{"consumer", "restaurant", "order", "kitchen", "accounting", "delivery", "orderhistory"}

func openBooks(t *testing.T, s *system) *books {
	t.Helper()
	db, err := sql.Open("sqlite", "file::memory:")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(); db.Close() })
	for _, name := range owners {
		file := "file:" + filepath.Join(s.state, "data", name+".db") + "?mode=ro"
		if _, err := conn.ExecContext(context.Background(), `ATTACH ? AS `+attached(name), file); err != nil {
			t.Fatalf("attach the database of %s: %v", name, err)
		}
	}
	b := &books{conn: conn}
	b.before = b.number(t, `SELECT coalesce(max(position), 0) FROM order_db.es_event`)
	return b
}

// attached is the schema name of a service's database; order is a word of SQL.
func attached(service string) string { return service + "_db" }

func (b *books) number(t *testing.T, query string, args ...any) (n int64) {
	t.Helper()
	if err := b.conn.QueryRowContext(context.Background(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// progress counts the orders that were placed at a restaurant and those of
// them that were approved or rejected.
func (b *books) progress(t *testing.T, restaurant string) (placed, settled int) {
	t.Helper()
	placed = int(b.number(t, `SELECT count(*) FROM order_db.es_event WHERE position > ? AND type = 'order.placed' AND data ->> 'restaurantId' = ?`, b.before, restaurant))
	settled = int(b.number(t, `SELECT count(*) FROM order_db.es_event WHERE position > ? AND type IN ('order.approved', 'order.rejected')`, b.before))
	return placed, settled
}

// settledAt is when the last order was approved or rejected.
func (b *books) settledAt(t *testing.T) time.Time {
	t.Helper()
	return time.UnixMicro(b.number(t, `SELECT max(recorded_at) FROM order_db.es_event WHERE type IN ('order.approved', 'order.rejected')`))
}

func (b *books) approvedTotal(t *testing.T) int64 {
	t.Helper()
	return b.number(t, `SELECT coalesce(sum(data -> 'total' ->> 'amount'), 0) FROM order_db.es_event
		WHERE type = 'order.placed' AND stream_id IN (SELECT stream_id FROM order_db.es_event WHERE type = 'order.approved')`)
}

// unasked counts the commands since the books were opened that were sent again
// although no participant had asked for that: a message may have been lost.
func (b *books) unasked(t *testing.T) int64 {
	t.Helper()
	return b.number(t, `WITH replies AS (
			SELECT category, data, meta FROM consumer_db.es_event UNION ALL
			SELECT category, data, meta FROM kitchen_db.es_event UNION ALL
			SELECT category, data, meta FROM accounting_db.es_event),
		asked(command, n) AS (SELECT meta ->> 'causation', count(*) FROM replies
			WHERE category = '$rpl.order' AND data ->> 'outcome' = 'not-yet' GROUP BY 1),
		sent(command, n) AS (SELECT meta -> 'ext' ->> 'command', count(*) FROM order_db.es_event
			WHERE position > ? AND category LIKE '$cmd.%' GROUP BY 1)
		SELECT count(*) FROM sent LEFT JOIN asked USING (command) WHERE sent.n - 1 > coalesce(asked.n, 0)`, b.before)
}

// saga describes the saga of an order, for people.
func (b *books) saga(order string) string {
	return strings.Join(b.rows(`SELECT state || ' at ' || step || ', due ' || coalesce(due_at, 'never') || ', ' || progress || ' ' || error
		FROM order_db.saga_instance WHERE key = ?`, order), "\n")
}

// audit returns a line for everything that is not as it must be once all sagas
// have ended.
func (b *books) audit() (wrong []string) {
	note := func(what string, rows []string) {
		if len(rows) > 0 {
			wrong = append(wrong, fmt.Sprintf("%s: %d such, the first: %s", what, len(rows), rows[0]))
		}
	}
	for _, name := range owners {
		for _, check := range ofEach {
			note(name+": "+check.wrong, b.rows(strings.ReplaceAll(check.query, "$db", attached(name))))
		}
	}
	for _, check := range across {
		note(check.wrong, b.rows(check.query))
	}
	return wrong
}

// rows returns the text of the first column, or of the error.
func (b *books) rows(query string, args ...any) []string {
	rows, err := b.conn.QueryContext(context.Background(), query, args...)
	if err != nil {
		return []string{err.Error() + " in " + query}
	}
	defer rows.Close()
	var found []string
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			return append(found, err.Error())
		}
		found = append(found, line)
	}
	if err := rows.Err(); err != nil {
		found = append(found, err.Error())
	}
	return found
}

// check is a query that finds a row of text for each thing that is wrong.
type check struct{ wrong, query string }

// ofEach holds for the database $db of every service.
var ofEach = []check{
	{"the file is damaged", `SELECT quick_check FROM pragma_quick_check WHERE schema = '$db' AND quick_check <> 'ok'`},
	{"positions have holes", `SELECT count(*) || ' events up to ' || max(position) FROM $db.es_event HAVING count(*) <> max(position)`},
	{"a stream's versions have holes", `SELECT category || '/' || stream_id FROM $db.es_event
		GROUP BY category, stream_id HAVING min(version) <> 1 OR max(version) <> count(*)`},
	{"a stream's end is not its last event", `SELECT category || '/' || id FROM $db.es_stream s
		WHERE version <> (SELECT max(version) FROM $db.es_event e WHERE e.tenant = s.tenant AND e.category = s.category AND e.stream_id = s.id)`},
}

// across compares what happened in one service with what others made of it.
// Both sides of a comparison are the same set when neither has a row alone.
var across = []check{
	{"an order is placed and settled other than once", `SELECT stream_id || ': ' || group_concat(type, ' ' ORDER BY version) AS events
		FROM order_db.es_event WHERE category = 'order' GROUP BY stream_id
		HAVING group_concat(type, ' ' ORDER BY version) NOT IN ('order.placed order.approved', 'order.placed order.rejected')`},
	{"an order has other than one saga", `SELECT stream_id FROM order_db.es_event LEFT JOIN order_db.saga_instance ON key = stream_id
		WHERE category = 'order' AND type = 'order.placed' GROUP BY stream_id HAVING count(id) <> 1`},
	{"a saga has not ended as its order did", differ(
		`SELECT key || ' ' || state FROM order_db.saga_instance`,
		`SELECT stream_id || iif(type = 'order.approved', ' completed', ' rolled-back') FROM order_db.es_event WHERE type IN ('order.approved', 'order.rejected')`)},
	{"the history is not what the events tell", differ(
		`SELECT id || ' ' || consumer_id || ' ' || (total ->> 'amount') || ' ' || status || ' ' || rejection_reason FROM orderhistory_db.history`,
		`SELECT p.stream_id || ' ' || (p.data ->> 'consumerId') || ' ' || (p.data -> 'total' ->> 'amount')
			|| iif(s.type = 'order.approved', ' APPROVED ', ' REJECTED ') || coalesce(s.data ->> 'reason', '')
			FROM order_db.es_event p JOIN order_db.es_event s ON s.stream_id = p.stream_id
			WHERE p.type = 'order.placed' AND s.type IN ('order.approved', 'order.rejected')`)},
	{"what is authorized is not what is approved", differ(
		`SELECT order_id || ' ' || total FROM accounting_db.payment WHERE NOT reversed`,
		`SELECT stream_id || ' ' || (data -> 'total' ->> 'amount') FROM order_db.es_event
			WHERE type = 'order.placed' AND stream_id IN `+approved)},
	{"the payments are not what their events tell", differ(
		`SELECT order_id || ' ' || total || ' ' || reversed FROM accounting_db.payment`,
		`SELECT stream_id || ' ' || (data ->> 'total') || ' ' ||
			(stream_id IN (SELECT stream_id FROM accounting_db.es_event WHERE type = 'payment.authorization-reversed'))
			FROM accounting_db.es_event WHERE type = 'payment.authorized'`)},
	{"a payment is decided more than once", `SELECT stream_id FROM accounting_db.es_event WHERE category = 'payment'
		GROUP BY stream_id, type HAVING count(*) > 1`},
	{"tickets are not those of approved orders", differ(`SELECT order_id || ' ' || status FROM kitchen_db.ticket`,
		`SELECT stream_id || ' AWAITING_ACCEPTANCE' FROM order_db.es_event WHERE type = 'order.approved'`)},
	{"tickets are not told of once", differ(`SELECT stream_id || ' ' || group_concat(type) FROM kitchen_db.es_event WHERE category = 'ticket' GROUP BY stream_id`,
		`SELECT order_id || ' ticket.created' FROM kitchen_db.ticket`)},
	{"deliveries are not those of tickets", differ(`SELECT order_id || ' ' || status FROM delivery_db.delivery`,
		`SELECT order_id || ' PENDING' FROM kitchen_db.ticket`)},
	{"accounts are not those of consumers", differ(
		`SELECT stream_id || ' ' || coalesce(data ->> 'cardToken', '') || ' ' || coalesce(data ->> 'cardVersion', 0) FROM accounting_db.es_event WHERE category = 'account'`,
		`SELECT id || ' ' || card_token || ' ' || card_version FROM consumer_db.consumer`)},
	{"the order service's menus are not those of the restaurants", differ(
		`SELECT restaurant_id || ' ' || version FROM order_db.menu`, `SELECT id || ' ' || menu_version FROM restaurant_db.restaurant`)},
	{"the kitchen's menus are not those of the restaurants", differ(
		`SELECT restaurant_id || ' ' || version FROM kitchen_db.menu`, `SELECT id || ' ' || menu_version FROM restaurant_db.restaurant`)},
	{"commands to the consumer service are not carried out once", carriedOut("consumer")},
	{"commands to the kitchen are not carried out once", carriedOut("kitchen")},
	{"commands to accounting are not carried out once", carriedOut("accounting")},
}

const approved = `(SELECT stream_id FROM order_db.es_event WHERE type = 'order.approved')`

// differ finds the rows that only one of two queries returns, and those that
// one returns twice.
func differ(a, b string) string {
	return `WITH a(x) AS (` + a + `), b(x) AS (` + b + `)
		SELECT 'only here ' || x FROM (SELECT x FROM a EXCEPT SELECT x FROM b) UNION ALL
		SELECT 'missing ' || x FROM (SELECT x FROM b EXCEPT SELECT x FROM a) UNION ALL
		SELECT 'twice ' || x FROM a GROUP BY x HAVING count(*) > 1 UNION ALL
		SELECT 'twice ' || x FROM b GROUP BY x HAVING count(*) > 1`
}

// carriedOut compares the commands that sagas sent, each perhaps more than once,
// with those that the participant has answered for good.
func carriedOut(service string) string {
	return differ(`SELECT command FROM `+attached(service)+`.saga_reply`,
		`SELECT DISTINCT meta -> 'ext' ->> 'command' FROM order_db.es_event WHERE category = '$cmd.`+service+`'`)
}
