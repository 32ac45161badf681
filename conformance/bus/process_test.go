package bus_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/bustest"
	"github.com/cleave-go/cleave/bus/natsbus"
	"github.com/cleave-go/cleave/conformance/internal/dbtest"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/sqldb"
)

// TestMain makes the test binary a service of its own when it is asked to: the
// relay of one database and a consumer of it in another.
func TestMain(m *testing.M) {
	if os.Getenv("BUS_TEST_URL") == "" {
		dbtest.Main(m, "TwoConsumers|AConsumer|Effect|Message|Failure|Wait|Place|Committed|Handler|Once|Commit|Park|Lane|Sources|Killing|T14|T17|T24|T34|Relay")
	}
	if err := child(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func child(ctx context.Context) error {
	source, err := sqldb.Open(ctx, os.Getenv("BUS_TEST_SOURCE"), nil)
	if err != nil {
		return err
	}
	sink, err := sqldb.Open(ctx, os.Getenv("BUS_TEST_SINK"), nil)
	if err != nil {
		return err
	}
	b, err := natsbus.Connect(ctx, os.Getenv("BUS_TEST_URL"), silent)
	if err != nil {
		return err
	}
	c := bus.Consumer{Name: "view", DB: sink, Bus: b, Filter: order, Handle: (&view{}).add, Logger: quiet}
	errs := make(chan error, 2)
	go func() { errs <- outbox.NewRelay("order", source, b, &outbox.Options{Logger: quiet}).Run(ctx) }()
	go func() { errs <- c.Run(ctx) }()
	fmt.Println("running")
	return <-errs
}

// spawn runs a child; the returned function kills it with SIGKILL.
func spawn(t *testing.T, b *broker, source, sink string) (kill func()) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "BUS_TEST_URL="+b.url, "BUS_TEST_SOURCE="+dbtest.At(t, source), "BUS_TEST_SINK="+dbtest.At(t, sink))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() { cmd.Process.Kill(); cmd.Wait() }
	t.Cleanup(kill)
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return kill
}

func TestKillingRelayAndConsumerAtAnyMomentLosesAndRepeatsNothing(t *testing.T) {
	b := newBroker(t)
	dir := t.TempDir()
	from, to := filepath.Join(dir, "order.db"), filepath.Join(dir, "view.db")
	source := open(t, from)
	v := newView(t, open(t, to))
	total := 0
	for i := range 12 {
		kill := spawn(t, b, from, to)
		for range 5 {
			addMany(t, source, 100)
			total += 100
		}
		time.Sleep(time.Duration(i*i) * time.Millisecond)
		kill()
	}
	spawn(t, b, from, to)
	spawn(t, b, from, to) // two at once, as in a rolling replacement
	addMany(t, source, 100)
	total += 100

	conn := b.connect(silent)
	c := bus.Consumer{Name: "view", DB: v.db, Bus: conn, Filter: order, Handle: v.add}
	epoch := bustest.Follow(t, conn, order, bus.Place{}).Next().Place.Epoch
	v.want(&c, epoch, eventPosition(total))
	b.chain().want(1, eventPosition(total))
}

// TestTrapT17 restores the database of a service from an older copy.
func TestTrapT17ARestoredTableIsNotPublishedOverItsFuture(t *testing.T) {
	onEach(t, func(t *testing.T, b bus.Bus) {
		path := filepath.Join(t.TempDir(), "order.db")
		db := open(t, path)
		add(t, db, 5)
		db.Close()
		backup := filepath.Join(t.TempDir(), "order.db")
		dbtest.Copy(t, path, backup)
		db = open(t, path)
		stop := start(t, outbox.NewRelay("order", db, b, nil).Run)
		add(t, db, 5)
		f := bustest.Follow(t, b, order, bus.Place{})
		f.Want(1, 10)
		f.Stop()
		stop()

		old := open(t, backup)
		ctx, cancel := context.WithTimeout(t.Context(), bustest.Patience)
		defer cancel()
		errs := make(chan error, 2)
		go func() { errs <- outbox.NewRelay("order", old, b, nil).Run(ctx) }()
		go func() { // the relay or, where the bus holds no copy, a subscriber notices
			for _, err := range b.Subscribe(ctx, order, f.Last()) {
				if err != nil {
					errs <- err
				}
			}
		}()
		if err := <-errs; !errors.Is(err, bus.ErrAhead) {
			t.Errorf("got %v, want ErrAhead", err)
		}
	})
}

// The restored table has grown past what was published before the relay looks:
// the positions are the same, the events are not.
func TestTrapT17ARestoredTableThatHasGrownAgainIsNotPublishedEither(t *testing.T) {
	b := newBroker(t).connect(silent)
	path := filepath.Join(t.TempDir(), "order.db")
	db := open(t, path)
	add(t, db, 5)
	db.Close()
	backup := filepath.Join(t.TempDir(), "order.db")
	dbtest.Copy(t, path, backup)
	db = open(t, path)
	stop := start(t, outbox.NewRelay("order", db, b, nil).Run)
	add(t, db, 5)
	f := bustest.Follow(t, b, order, bus.Place{})
	f.Want(1, 10)
	f.Stop()
	stop()

	old := open(t, backup)
	add(t, old, 8)
	ctx, cancel := context.WithTimeout(t.Context(), bustest.Patience)
	defer cancel()
	err := outbox.NewRelay("order", old, b, &outbox.Options{Logger: quiet}).Run(ctx)
	if !errors.Is(err, bus.ErrAhead) || !strings.Contains(fmt.Sprint(err), "position 10") {
		t.Errorf("got %v, want ErrAhead at position 10", err)
	}
}

// TestTrapT24: another process commits; nothing wakes this one's relay but its
// own look at the file.
func TestTrapT24ACommitOfAnotherProcessIsNoticed(t *testing.T) {
	onEach(t, func(t *testing.T, b bus.Bus) {
		path := filepath.Join(t.TempDir(), "order.db")
		db, other := open(t, path), open(t, path)
		start(t, outbox.NewRelay("order", db, b, nil).Run)
		f := bustest.Follow(t, b, order, bus.Place{})
		add(t, other, 1)
		f.Want(1, 1)
		best := time.Hour
		for i := range 10 {
			add(t, other, 1)
			began := time.Now()
			f.Want(eventPosition(i+2), eventPosition(i+2))
			best = min(best, time.Since(began))
		}
		t.Logf("quickest of 10: %v", best)
		if best > 100*time.Millisecond {
			t.Errorf("quickest of 10 took %v, want at most 100ms", best)
		}
	})
}
