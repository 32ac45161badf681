package crash_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/eventsource"
	"github.com/cleave-go/cleave/eventsource/sqlstore"
	"github.com/cleave-go/cleave/internal/eventtable"
	"github.com/cleave-go/cleave/platform/messaging"
	"github.com/cleave-go/cleave/sqldb"
)

// raced says that the race detector runs, which takes its time in each child.
var raced bool

func long() bool { return os.Getenv("CLEAVE_LONG") != "" }

// rounds is how often a child is killed at each point.
func rounds() int {
	if long() && !raced {
		return 200
	}
	return int(damages)
}

// damage is what happens to the files while the system is down.
type damage int

const (
	unharmed   damage = iota
	brokerTail        // the broker forgets the end of the shop's stream
	tornLog           // what was on its way into the shop's write-ahead log is there in part
	bothOfThem
	lostCommits // the disk lied: commits that had returned are not in the log
	damages
)

func TestASystemKilledAtAnyPointGoesOnAsIfNothingHappened(t *testing.T) {
	for at, point := range points {
		t.Run(point, func(t *testing.T) {
			for seed := range rounds() {
				r := newRound(t, uint64(at)<<32|uint64(seed))
				r.kill(point)
				d := damage(seed) % damages
				r.harm(d)
				if r.finish(d) {
					r.check()
				}
				r.broker.stop()
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

// round is one system that is killed once.
type round struct {
	t      *testing.T
	dir    string
	broker *broker
	rand   *rand.Rand
	lost   []string // events that were published, and are in no table any more
}

func newRound(t *testing.T, seed uint64) *round {
	t.Helper()
	dir := t.TempDir()
	b := &broker{t: t, dir: filepath.Join(dir, "broker"), addr: "127.0.0.1:0"}
	b.start()
	t.Cleanup(func() { b.stop() })
	return &round{t: t, dir: dir, broker: b, rand: rand.New(rand.NewPCG(seed, 0))}
}

// run runs a child to its end.
func (r *round) run(point string, after int, more ...string) *os.ProcessState {
	r.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.CommandContext(r.t.Context(), exe)
	cmd.Env = append(os.Environ(), variable+"="+r.dir, "CLEAVE_CRASH_BROKER="+r.broker.url, "CLEAVE_CRASH_POINT="+point, fmt.Sprint("CLEAVE_CRASH_AFTER=", after))
	cmd.Env = append(cmd.Env, more...)
	out, err := cmd.CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); err != nil && !ended {
		r.t.Fatal(err)
	}
	if len(out) > 0 {
		r.t.Logf("%s", out)
	}
	return cmd.ProcessState
}

func (r *round) kill(point string) {
	r.t.Helper()
	after := 1 + r.rand.IntN(orders)
	if strings.HasPrefix(point, "relay: published") || strings.HasPrefix(point, "relay: noted") {
		after = 1 // it is noted now and then only
	}
	state := r.run(point, after)
	if s, ok := state.Sys().(syscall.WaitStatus); !ok || !s.Signaled() || s.Signal() != syscall.SIGKILL {
		r.t.Fatalf("the child was to be killed the %d. time at %q, and ended with %s", after, point, state)
	}
}

// finish runs a child that is not killed. If it refuses to go on, because what
// was published is lost in the table, the test does what is left to a person:
// the table goes on in a new epoch, and the view, which has seen what is lost,
// is built anew. That far it goes in the long run only; it returns false where it
// stops before.
func (r *round) finish(d damage) bool {
	r.t.Helper()
	before := r.broker.ids("OUT_shop")
	state := r.run("", 0)
	if d == lostCommits && state.ExitCode() == refused {
		if after := r.broker.ids("OUT_shop"); !slices.Equal(before, after) {
			r.t.Errorf("the stream of a shop that lost events was\n%v, and is now\n%v", before, after)
		}
		if !long() {
			return false
		}
		r.lost = r.newEpoch(before)
		state = r.run("", 0, "CLEAVE_CRASH_REBUILD=1")
	}
	if !state.Success() {
		r.t.Fatalf("the child that goes on ended with %s", state)
	}
	return true
}

// newEpoch has the shop's table go on in a new epoch behind what it has in
// common with its stream, and returns the events that only the stream has.
func (r *round) newEpoch(stream []string) (lost []string) {
	r.t.Helper()
	shop, kitchen, err := files(r.t.Context(), r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	defer shop.Close()
	defer kitchen.Close()
	common := event.Position(0)
	for i, e := range feed(r.t, shop) {
		if i == len(stream) || e.ID.String() != stream[i] {
			break
		}
		common = e.Position
	}
	err = shop.Update(r.t.Context(), func(ctx context.Context, tx sqldb.Tx) error {
		_, err := eventtable.NewEpoch(ctx, tx, common)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return stream[common:]
}

func (r *round) harm(d damage) {
	r.t.Helper()
	if d == brokerTail || d == bothOfThem {
		r.broker.stop()
		r.broker.cut(r.rand)
		r.broker.start()
	}
	log := filepath.Join(r.dir, "shop.db-wal")
	switch d {
	case tornLog, bothOfThem:
		tear(r.t, log, r.rand)
	case lostCommits:
		cutBack(r.t, log, r.rand)
	}
}

// check compares the view with the fold of the events, the stream with the
// table, and finds every saga ended: the child has waited for that.
func (r *round) check() {
	r.t.Helper()
	ctx := r.t.Context()
	shop, kitchen, err := files(ctx, r.dir)
	if err != nil {
		r.t.Fatal(err)
	}
	defer shop.Close()
	defer kitchen.Close()
	fold := map[string]string{}
	for _, e := range feed(r.t, shop) {
		if e.Stream.Category == "order" {
			fold[e.Stream.ID] = fmt.Sprint(e.Version, " ", e.Type)
		}
	}
	for id, got := range fold {
		if got != "2 order.approved" {
			r.t.Errorf("order %s ended as %s", id, got)
		}
	}
	view := map[string]string{}
	rows, err := kitchen.QueryContext(ctx, "SELECT id, events, state FROM view")
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, state string
		var events int
		if err := rows.Scan(&id, &events, &state); err != nil {
			r.t.Fatal(err)
		}
		view[id] = fmt.Sprint(events, " ", state)
	}
	if err := rows.Err(); err != nil {
		r.t.Fatal(err)
	}
	if len(view) != orders || len(fold) != orders {
		r.t.Errorf("%d orders, %d in the view, want %d", len(fold), len(view), orders)
	}
	for id, want := range fold {
		if view[id] != want {
			r.t.Errorf("the view has order %s as %s, want %s", id, view[id], want)
		}
	}
	r.same("shop", shop)
	r.same("kitchen", kitchen)
}

// same waits until the stream of a service has exactly its table's events.
func (r *round) same(service string, db *sqldb.DB) {
	r.t.Helper()
	var table []string
	for _, e := range feed(r.t, db) {
		table = append(table, e.ID.String())
	}
	stream := slices.DeleteFunc(r.broker.ids("OUT_"+service), func(id string) bool { return slices.Contains(r.lost, id) })
	if !isBeginning(stream, table) {
		r.t.Errorf("the stream of %s has\n%v, its table\n%v", service, stream, table)
	}
}

// isBeginning reports whether the stream has the table's events from the first
// on. The last of them may be on their way when a child ends.
func isBeginning(stream, table []string) bool {
	return len(stream) > 0 && len(stream) <= len(table) && slices.Equal(stream, table[:len(stream)])
}

func feed(t *testing.T, db *sqldb.DB) (all []event.Record) {
	t.Helper()
	for e, err := range sqlstore.New(db).Feed(t.Context(), eventsource.FeedOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

// broker is an embedded broker that can be stopped and started again.
type broker struct {
	t    *testing.T
	dir  string
	addr string
	url  string
	stop func()
}

func (b *broker) start() {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan string, 1), make(chan error, 1)
	go func() {
		done <- messaging.Run(ctx, messaging.Options{Dir: b.dir, Listen: b.addr, Token: "a-token", Ready: func(u string) { ready <- u }})
	}()
	select {
	case b.url = <-ready:
	case err := <-done:
		b.t.Fatal(err)
	}
	u, err := url.Parse(b.url)
	if err != nil {
		b.t.Fatal(err)
	}
	b.addr = u.Host
	b.stop = func() {
		cancel()
		if err := <-done; err != nil {
			b.t.Error(err)
		}
		b.stop = func() {}
	}
}

// cut takes some bytes off the end of the shop's stream, and what the broker
// noted about it: acknowledged and never synced.
func (b *broker) cut(r *rand.Rand) {
	b.t.Helper()
	var blocks []string
	err := filepath.WalkDir(b.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.Contains(path, "OUT_shop") {
			return err
		}
		switch {
		case strings.HasSuffix(path, ".blk"):
			blocks = append(blocks, path)
		case filepath.Base(path) == "index.db":
			return os.Remove(path)
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if len(blocks) == 0 {
		return // killed before anything was published
	}
	slices.Sort(blocks)
	last := blocks[len(blocks)-1]
	info, err := os.Stat(last)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.Truncate(last, r.Int64N(info.Size()+1)); err != nil {
		b.t.Fatal(err)
	}
}

// ids returns the events in a stream, in its order.
func (b *broker) ids(stream string) (all []string) {
	b.t.Helper()
	nc, err := nats.Connect(b.url)
	if err != nil {
		b.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		b.t.Fatal(err)
	}
	st, err := js.Stream(b.t.Context(), stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		b.t.Fatal(err)
	}
	c, err := st.OrderedConsumer(b.t.Context(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		b.t.Fatal(err)
	}
	it, err := c.Messages()
	if err != nil {
		b.t.Fatal(err)
	}
	defer it.Stop()
	for range st.CachedInfo().State.Msgs {
		m, err := it.Next(jetstream.NextMaxWait(20 * time.Second))
		if err != nil {
			b.t.Fatal(err)
		}
		all = append(all, m.Headers().Get("ce-id"))
	}
	return all
}

// readLog returns a write-ahead log's frames of its last generation, nil if it
// has none, with its header and the size of a frame.
func readLog(t *testing.T, path string) (log []byte, header, frame int) {
	t.Helper()
	const size = 32
	log, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) || len(log) < size {
		return nil, size, 0
	}
	if err != nil {
		t.Fatal(err)
	}
	frame = 24 + int(binary.BigEndian.Uint32(log[8:]))
	end := size
	for end+frame <= len(log) && string(log[end+8:end+16]) == string(log[16:24]) {
		end += frame
	}
	return log[:end], size, frame
}

// tear appends part of a frame to a write-ahead log: what power loss leaves of a
// commit that has not returned.
func tear(t *testing.T, path string, r *rand.Rand) {
	t.Helper()
	log, header, frame := readLog(t, path)
	if len(log) <= header {
		return
	}
	torn := slices.Clone(log[len(log)-frame:])[:1+r.IntN(frame-1)]
	if err := os.WriteFile(path, append(log, torn...), 0o600); err != nil {
		t.Fatal(err)
	}
}

// cutBack takes one to three commits off the end of a write-ahead log.
func cutBack(t *testing.T, path string, r *rand.Rand) {
	t.Helper()
	log, header, frame := readLog(t, path)
	for range 1 + r.IntN(3) {
		for end := len(log) - frame; end > header; end -= frame {
			if binary.BigEndian.Uint32(log[end-frame+4:]) != 0 { // the frame before is a commit
				log = log[:end]
				break
			}
		}
	}
	if len(log) > header {
		if err := os.WriteFile(path, log, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
