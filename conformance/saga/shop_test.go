package saga_test

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/membus"
	"github.com/cleave-go/cleave/conformance/internal/dbtest"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/saga"
	"github.com/cleave-go/cleave/sqldb"
)

// The shop: order runs the saga; consumer, kitchen and accounting take part.
// Each has its own database file.

type (
	order  struct{ ID, Ticket, Name string }
	ref    struct{ Order string }
	ticket struct{ Ticket string }
	person struct{ Name string }
	none   struct{}
)

var (
	validate     = saga.Endpoint[ref, person]{Service: "consumer", Command: "validate"}
	createTicket = saga.Endpoint[ref, ticket]{Service: "kitchen", Command: "create-ticket"}
	cancelTicket = saga.Endpoint[ref, none]{Service: "kitchen", Command: "cancel-create"}
	confirm      = saga.Endpoint[ticket, none]{Service: "kitchen", Command: "confirm-create"}
	authorize    = saga.Endpoint[ref, none]{Service: "accounting", Command: "authorize"}
	reverse      = saga.Endpoint[ref, none]{Service: "accounting", Command: "reverse"}
)

func orderRef(o *order) ref                { return ref{o.ID} }
func undoRef(o *order, _ saga.Failure) ref { return ref{o.ID} }
func setOrder(state string) func(context.Context, sqldb.Tx, *order, saga.Failure) error {
	return func(ctx context.Context, tx sqldb.Tx, o *order, why saga.Failure) error {
		return one(tx.ExecContext(ctx, "UPDATE orders SET state = ?, reason = ? WHERE id = ? AND state = 'pending'", state, why.Code, o.ID))
	}
}

func one(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	if n, err := r.RowsAffected(); err != nil || n != 1 {
		return cmp.Or(err, fmt.Errorf("%d rows instead of one", n))
	}
	return nil
}

func newCreate(timeout time.Duration, p saga.Policy) *saga.Saga[order] {
	return saga.Define("create-order",
		saga.Local[order]("create", nil).Undo(saga.Locally(setOrder("rejected"))),
		saga.Call("validate", validate, orderRef, func(o *order, p person) { o.Name = p.Name }).ReadOnly().Timeout(timeout),
		saga.Call("ticket", createTicket, orderRef, func(o *order, t ticket) { o.Ticket = t.Ticket }).
			Undo(saga.Command(cancelTicket, undoRef)).Timeout(timeout),
		saga.Call("authorize", authorize, orderRef, nil).Undo(saga.Command(reverse, undoRef)).Timeout(timeout).Pivot(),
		saga.Call("confirm", confirm, func(o *order) ticket { return ticket{o.Ticket} }, nil),
		saga.Local("approve", func(ctx context.Context, tx sqldb.Tx, o *order) error {
			return setOrder("approved")(ctx, tx, o, saga.Failure{})
		}),
	).With(p)
}

// chaos decides what goes wrong: it returns the error of one attempt.
type chaos func(command, order string) error

func calm(string, string) error { return nil }

// shop is a running system over the files of a folder.
type shop struct {
	t      testing.TB
	dir    string
	bus    bus.Bus
	chaos  chaos
	create *saga.Saga[order]
	db     map[string]*sqldb.DB
	stops  map[string]func()
	orch   *saga.Orchestrator
}

var services = []string{"order", "consumer", "kitchen", "accounting"}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

var tables = map[string]string{
	"order":      "CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, state TEXT, reason TEXT)",
	"consumer":   "CREATE TABLE IF NOT EXISTS unused (id TEXT)",
	"kitchen":    "CREATE TABLE IF NOT EXISTS tickets (id TEXT PRIMARY KEY, state TEXT)",
	"accounting": "CREATE TABLE IF NOT EXISTS holds (id TEXT PRIMARY KEY, times INTEGER)",
}

func TestMain(m *testing.M) { dbtest.Main(m, "") }

// open opens a system without starting any service.
func open(t testing.TB, dir string, b bus.Bus, create *saga.Saga[order], c chaos) *shop {
	t.Helper()
	if b == nil {
		b = membus.New()
	}
	s := &shop{t: t, dir: dir, bus: b, create: create, chaos: c, db: map[string]*sqldb.DB{}, stops: map[string]func(){}}
	for _, name := range services {
		s.db[name] = s.open(name)
	}
	return s
}

// open opens one service's database.
func (s *shop) open(name string) *sqldb.DB {
	s.t.Helper()
	ctx := context.Background()
	db, err := sqldb.Open(ctx, dbtest.At(s.t, filepath.Join(s.dir, name+".db")), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	err = errors.Join(outbox.Setup(ctx, db), saga.Setup(ctx, db), db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		_, err := tx.ExecContext(ctx, tables[name])
		return err
	}))
	if err != nil {
		s.t.Fatal(err)
	}
	return db
}

// start starts the services named, all when none is.
func (s *shop) start(names ...string) *shop {
	s.t.Helper()
	if len(names) == 0 {
		names = services
	}
	for _, name := range names {
		s.stops[name] = s.run(name, s.db[name])
	}
	return s
}

func (s *shop) run(name string, db *sqldb.DB) (stop func()) {
	runs := []func(context.Context) error{outbox.NewRelay(name, db, s.bus, nil).Run}
	var err error
	if name == "order" {
		s.orch, err = saga.NewOrchestrator(name, db, s.bus, &saga.Options{Logger: quiet}, s.create)
		runs = append(runs, s.orch.Run)
	} else {
		var p *saga.Participant
		p, err = saga.NewParticipant(name, db, s.bus, []string{"order"}, &saga.Options{Logger: quiet}, s.handlers(name)...)
		runs = append(runs, p.Run)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return s.background(runs...)
}

// background runs all until stop is called.
func (s *shop) background(runs ...func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, run := range runs {
		wg.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				s.t.Error(err)
			}
		})
	}
	return func() { cancel(); wg.Wait() }
}

// orchestrate starts the order service with another saga.
func (s *shop) orchestrate(def saga.Definition) {
	s.t.Helper()
	o, err := saga.NewOrchestrator("order", s.db["order"], s.bus, &saga.Options{Logger: quiet}, def)
	if err != nil {
		s.t.Fatal(err)
	}
	s.stops["order"] = s.background(o.Run, outbox.NewRelay("order", s.db["order"], s.bus, nil).Run)
}

// begin starts a saga.
func (s *shop) begin(def *saga.Saga[order], id string) {
	s.t.Helper()
	s.beginAs(event.Meta{}, def, id)
}

func (s *shop) beginAs(m event.Meta, def *saga.Saga[order], id string) {
	s.t.Helper()
	err := s.db["order"].Update(event.WithMeta(context.Background(), m), func(ctx context.Context, tx sqldb.Tx) error {
		_, err := def.Start(ctx, tx, id, order{ID: id})
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// stop ends everything at once, wherever it is.
func (s *shop) stop() {
	var wg sync.WaitGroup
	for _, stop := range s.stops {
		wg.Go(stop)
	}
	wg.Wait()
	for _, db := range s.db {
		db.Close()
	}
	s.stops = map[string]func(){}
}

func (s *shop) handlers(name string) []saga.Handler {
	switch name {
	case "consumer":
		return []saga.Handler{handle(s, validate, "", func(r ref) person { return person{"Ann"} })}
	case "kitchen":
		return []saga.Handler{
			handle(s, createTicket, "INSERT INTO tickets VALUES (?, 'pending')", func(r ref) ticket { return ticket{"t-" + r.Order} }),
			handle(s, cancelTicket, "DELETE FROM tickets WHERE id = ?", func(ref) none { return none{} }),
			saga.Handle(confirm, func(ctx context.Context, tx sqldb.Tx, t ticket) (none, error) {
				id := t.Ticket[len("t-"):]
				if err := one(tx.ExecContext(ctx, "UPDATE tickets SET state = 'confirmed' WHERE id = ? AND state = 'pending'", id)); err != nil {
					return none{}, err
				}
				return none{}, s.chaos(confirm.Command, id)
			}),
		}
	default:
		return []saga.Handler{
			handle(s, authorize, "INSERT INTO holds VALUES (?, 1) ON CONFLICT (id) DO UPDATE SET times = holds.times + 1", func(ref) none { return none{} }),
			handle(s, reverse, "DELETE FROM holds WHERE id = ?", func(ref) none { return none{} }),
		}
	}
}

// handle writes with query and then lets chaos decide: what was written must
// not stay when that returns an error.
func handle[Rep any](s *shop, ep saga.Endpoint[ref, Rep], query string, rep func(ref) Rep) saga.Handler {
	return saga.Handle(ep, func(ctx context.Context, tx sqldb.Tx, r ref) (Rep, error) {
		if query != "" {
			if _, err := tx.ExecContext(ctx, query, r.Order); err != nil {
				return rep(r), err
			}
		}
		return rep(r), s.chaos(ep.Command, r.Order)
	})
}

// place starts a saga in the transaction that writes its order.
func (s *shop) place(id string) {
	s.t.Helper()
	db := s.db["order"]
	err := db.Update(context.Background(), func(ctx context.Context, tx sqldb.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO orders VALUES (?, 'pending', '')", id); err != nil {
			return err
		}
		_, err := s.create.Start(ctx, tx, id, order{ID: id})
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}
