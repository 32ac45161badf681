package crash_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/natsbus"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/internal/eventtable"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/projection"
	"github.com/cleave-go/cleave/saga"
	"github.com/cleave-go/cleave/sqldb"
)

// points are where a child may be killed.
var points = []string{
	"append: in the transaction, before the event",
	"append: in the transaction, behind the event",
	"append: committed, the caller does not know yet",
	"relay: a record is read and not yet published",
	"relay: published and not yet noted",
	"relay: noted",
	"projection: before the view is written",
	"projection: the view is written and not yet committed",
	"projection: between two batches",
	"saga: started and not yet committed",
	"saga: the participant has acted and not yet committed",
	"saga: a local step is done and not yet committed",
}

const (
	variable = "CLEAVE_CRASH" // the folder; whoever has it is a child
	orders   = 12             // that a child places, whoever of its predecessors began
	refused  = 3              // how a child exits when the bus is ahead of the table
)

func TestMain(m *testing.M) {
	if os.Getenv(variable) == "" {
		os.Exit(m.Run())
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	switch err := child(ctx); {
	case errors.Is(err, bus.ErrAhead):
		os.Exit(refused)
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// fuse kills the process the nth time that it passes a point.
type fuse struct {
	point string
	left  atomic.Int64
}

func (f *fuse) pass(point int) {
	if f.point == points[point] && f.left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it takes effect
	}
}

type (
	order struct{ ID string }
	none  struct{}
)

var (
	ticket  = saga.Endpoint[order, none]{Service: "kitchen", Command: "create-ticket"}
	cancel  = saga.Endpoint[order, none]{Service: "kitchen", Command: "cancel-ticket"}
	confirm = saga.Endpoint[order, none]{Service: "kitchen", Command: "confirm-ticket"}
)

func itself(o *order) order                 { return *o }
func undone(o *order, _ saga.Failure) order { return *o }

// files are the databases of the two services.
func files(ctx context.Context, dir string) (shop, kitchen *sqldb.DB, err error) {
	open := func(name, table string) (*sqldb.DB, error) {
		db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(dir, name+".db"), nil)
		if err != nil {
			return nil, err
		}
		return db, errors.Join(outbox.Setup(ctx, db), saga.Setup(ctx, db), db.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
			_, err := tx.ExecContext(ctx, table)
			return err
		}))
	}
	if shop, err = open("shop", "CREATE TABLE IF NOT EXISTS unused (id TEXT)"); err != nil {
		return nil, nil, err
	}
	kitchen, err = open("kitchen", "CREATE TABLE IF NOT EXISTS view (id TEXT PRIMARY KEY, events INTEGER, last INTEGER, state TEXT)")
	return shop, kitchen, err
}

// child is the whole system in one process. It ends when all orders are placed,
// all sagas have ended and the view has caught up.
func child(ctx context.Context) error {
	after, err := strconv.Atoi(os.Getenv("CLEAVE_CRASH_AFTER"))
	if err != nil {
		return err
	}
	f := &fuse{point: os.Getenv("CLEAVE_CRASH_POINT")}
	f.left.Store(int64(after))
	shop, kitchen, err := files(ctx, os.Getenv(variable))
	if err != nil {
		return err
	}
	broker, err := natsbus.Connect(ctx, os.Getenv("CLEAVE_CRASH_BROKER"), &natsbus.Options{Check: 50 * time.Millisecond, Logger: quiet})
	if err != nil {
		return err
	}
	defer broker.Close()
	s := &system{fuse: f, shop: shop, kitchen: kitchen, bus: &fusedBus{broker, f}}
	return s.run(ctx)
}

var quiet = slog.New(slog.DiscardHandler)

type system struct {
	*fuse
	shop, kitchen *sqldb.DB
	bus           bus.Bus
}

func (s *system) saga() *saga.Saga[order] {
	return saga.Define("create-order",
		saga.Call("ticket", ticket, itself, nil).Undo(saga.Command(cancel, undone)),
		saga.Call("confirm", confirm, itself, nil).Pivot(),
		saga.Local("approve", func(ctx context.Context, tx sqldb.Tx, o *order) error {
			_, err := outbox.Add(ctx, tx, event.Stream{Category: "order", ID: o.ID}, event.Record{Type: "order.approved", Schema: 1, Data: []byte("{}")})
			s.pass(11)
			return err
		}),
	).With(saga.Policy{Resend: 500 * time.Millisecond})
}

func (s *system) run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	create := s.saga()
	o := &saga.Options{Logger: quiet}
	orchestrator, err := saga.NewOrchestrator("shop", s.shop, s.bus, o, create)
	if err != nil {
		return err
	}
	act := func(ep saga.Endpoint[order, none]) saga.Handler {
		return saga.Handle(ep, func(ctx context.Context, tx sqldb.Tx, r order) (none, error) {
			_, err := outbox.Add(ctx, tx, event.Stream{Category: "ticket", ID: r.ID}, event.Record{Type: "ticket." + ep.Command, Schema: 1, Data: []byte("{}")})
			s.pass(10)
			return none{}, err
		})
	}
	participant, err := saga.NewParticipant("kitchen", s.kitchen, s.bus, []string{"shop"}, o, act(ticket), act(cancel), act(confirm))
	if err != nil {
		return err
	}
	views, err := projection.NewRunner(s.kitchen, s.bus, &projection.Options{Logger: quiet, Wait: time.Minute}, projection.Projection{
		Name: "orders", Sources: []string{"shop"}, Apply: s.apply, Reset: func(ctx context.Context, tx sqldb.Tx) error {
			_, err := tx.ExecContext(ctx, "DELETE FROM view")
			return err
		},
	})
	if err != nil {
		return err
	}
	quietly := &outbox.Options{Logger: quiet}
	var wg sync.WaitGroup
	start := func(runs ...func(context.Context) error) {
		for _, run := range runs {
			wg.Go(func() {
				if err := run(ctx); err != nil {
					stop(err)
				}
			})
		}
	}
	start(outbox.NewRelay("shop", s.shop, s.bus, quietly).Run, outbox.NewRelay("kitchen", s.kitchen, s.bus, quietly).Run)
	if os.Getenv("CLEAVE_CRASH_REBUILD") != "" {
		err = s.rebuild(ctx, views)
	}
	start(orchestrator.Run, participant.Run, views.Run)
	if err == nil {
		err = s.work(ctx, create, views)
	}
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	stop(nil)
	wg.Wait()
	return errors.Join(err, s.shop.Close(), s.kitchen.Close())
}

// rebuild empties the view once the shop's stream does not end with what its
// table has lost any more. Who works on it builds it anew.
func (s *system) rebuild(ctx context.Context, views *projection.Runner) error {
	spans, err := eventtable.Epochs(ctx, s.shop)
	if err != nil {
		return err
	}
	var epochs []bus.Epoch
	for _, e := range spans {
		epochs = append(epochs, bus.Epoch(e))
	}
	for {
		last, err := s.bus.(*fusedBus).Bus.(bus.Searcher).Last(ctx, "shop")
		if err != nil {
			return err
		}
		if last.Position == 0 || bus.EpochAt(epochs, last.Position) == last.Epoch {
			break
		}
		time.Sleep(10 * time.Millisecond) // the relay is at it
	}
	for _, err := range views.Rebuild(ctx, "orders") {
		return err // with the first news it is empty
	}
	return nil
}

// work places what is missing of the orders and waits until all is done.
func (s *system) work(ctx context.Context, create *saga.Saga[order], views *projection.Runner) error {
	store := sqlstore.New(s.shop)
	for i := range orders {
		if err := s.place(ctx, store, create, fmt.Sprint(i)); err != nil {
			return err
		}
	}
	for i := range orders {
		if err := s.ended(ctx, create, fmt.Sprint(i)); err != nil {
			return err
		}
	}
	epoch, err := store.Epoch(ctx)
	if err != nil {
		return err
	}
	head, err := store.Head(ctx)
	if err != nil {
		return err
	}
	return views.Wait(ctx, "orders", event.Token{}.With("shop", epoch, head))
}

// ended waits until a saga has ended.
func (s *system) ended(ctx context.Context, create *saga.Saga[order], key string) error {
	for n := uint64(0); ; {
		status, err := create.Find(ctx, s.shop, key)
		if err != nil || status.State.Ended() {
			return err
		}
		if n, err = s.shop.AwaitCommit(ctx, n); err != nil {
			return err
		}
	}
}

// place records an order and starts its saga, in one transaction, unless that
// has happened.
func (s *system) place(ctx context.Context, store *sqlstore.Store, create *saga.Saga[order], id string) error {
	err := s.shop.Update(ctx, func(ctx context.Context, tx sqldb.Tx) error {
		s.pass(0)
		record := event.Record{ID: event.NewID(), Type: "order.placed", Schema: 1, Data: []byte("{}")}
		_, err := store.In(tx).Append(ctx, event.Stream{Category: "order", ID: id}, eventsource.NoStream, record)
		if errors.Is(err, eventsource.ErrConflict) {
			return nil // a predecessor did it
		}
		if err != nil {
			return err
		}
		s.pass(1)
		_, err = create.Start(ctx, tx, id, order{ID: id})
		s.pass(9)
		return err
	})
	s.pass(2)
	return err
}

// apply folds each stream of the shop's orders and refuses what comes twice or
// out of order.
func (s *system) apply(ctx context.Context, tx sqldb.Tx, m bus.Message) error {
	if m.Stream.Category != "order" {
		return nil
	}
	s.pass(6)
	var last uint64
	err := tx.QueryRowContext(ctx, "SELECT coalesce(max(last), 0) FROM view WHERE id = ?", m.Stream.ID).Scan(&last)
	if err != nil {
		return err
	}
	if m.Version != last+1 {
		fmt.Fprintf(os.Stderr, "version %d of order %s is applied behind %d\n", m.Version, m.Stream.ID, last)
		os.Exit(1)
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO view (id, events, last, state) VALUES (?, 1, ?, ?)
		ON CONFLICT (id) DO UPDATE SET events = view.events + 1, last = excluded.last, state = excluded.state`, m.Stream.ID, m.Version, m.Type)
	s.pass(7)
	return err
}

// fusedBus passes the points between the tables and the broker.
type fusedBus struct {
	bus.Bus
	f *fuse
}

func (b *fusedBus) Publish(ctx context.Context, s bus.Source) error {
	return b.Bus.Publish(ctx, &fusedSource{Source: s, f: b.f})
}

func (b *fusedBus) Subscribe(ctx context.Context, f bus.Filter, after bus.Place) iter.Seq2[bus.Message, error] {
	return func(yield func(bus.Message, error) bool) {
		for m, err := range b.Bus.Subscribe(ctx, f, after) {
			if !yield(m, err) {
				return
			}
			if m.Type == "order.approved" {
				b.f.pass(8) // on its way, whatever became of those before it
			}
		}
	}
}

type fusedSource struct {
	bus.Source
	f *fuse
}

func (s *fusedSource) Feed(ctx context.Context, after event.Position, live bool) iter.Seq2[event.Record, error] {
	return func(yield func(event.Record, error) bool) {
		for r, err := range s.Source.Feed(ctx, after, live) {
			s.f.pass(3)
			if !yield(r, err) {
				return
			}
		}
	}
}

func (s *fusedSource) Published(ctx context.Context) (bus.Place, error) {
	return s.Source.(bus.Noter).Published(ctx)
}

func (s *fusedSource) NotePublished(ctx context.Context, p bus.Place) error {
	s.f.pass(4)
	err := s.Source.(bus.Noter).NotePublished(ctx, p)
	s.f.pass(5)
	return err
}
