package bus_test

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/cleave-go/cleave/bus"
	"github.com/cleave-go/cleave/bus/bustest"
	"github.com/cleave-go/cleave/bus/natsbus"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/service"
)

// cluster is three brokers, each with a copy of every stream.
type cluster struct {
	t     testing.TB
	opts  [3]server.Options
	nodes [3]*server.Server
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	c := &cluster{t: t}
	var routes []*url.URL
	for range c.nodes {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprint("127.0.0.1:", freePort(t))})
	}
	for i := range c.nodes {
		port := freePort(t)
		cluster := server.ClusterOpts{Name: "three", Host: "127.0.0.1"}
		fmt.Sscan(routes[i].Port(), &cluster.Port)
		c.opts[i] = server.Options{
			ServerName: fmt.Sprint("node", i), Host: "127.0.0.1", Port: port, Cluster: cluster, Routes: routes,
			JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		}
		c.start(i)
	}
	t.Cleanup(func() {
		for i := range c.nodes {
			c.stop(i)
		}
	})
	return c
}

// freePort returns a port that was free a moment ago: nodes have to know each
// other's before they start.
func freePort(t testing.TB) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

func (c *cluster) start(i int) {
	c.t.Helper()
	opts := c.opts[i]
	s, err := server.NewServer(&opts)
	if err != nil {
		c.t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(bustest.Patience) {
		c.t.Fatal("a node does not start")
	}
	c.nodes[i] = s
}

func (c *cluster) stop(i int) {
	c.nodes[i].Shutdown()
	c.nodes[i].WaitForShutdown()
}

func (c *cluster) url() string {
	var all []string
	for i := range c.nodes {
		all = append(all, fmt.Sprint("nats://127.0.0.1:", c.opts[i].Port))
	}
	return strings.Join(all, ",")
}

func (c *cluster) connect() *natsbus.Bus {
	c.t.Helper()
	b, err := natsbus.Connect(c.t.Context(), c.url(), &natsbus.Options{Replicas: 3, Check: 50 * time.Millisecond, Logger: quiet})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { b.Close() })
	return b
}

// js returns JetStream once a leader answers for it.
func (c *cluster) js() jetstream.JetStream {
	c.t.Helper()
	nc, err := nats.Connect(c.url(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		c.t.Fatal(err)
	}
	for deadline := time.Now().Add(bustest.Patience); ; {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Second) // without a leader nobody answers
		_, err := js.AccountInfo(ctx)
		cancel()
		if err == nil {
			return js
		}
		if time.Now().After(deadline) {
			c.t.Fatal(err)
		}
	}
}

func TestBusOfThreeNodes(t *testing.T) {
	c := newCluster(t)
	js := c.js()
	bustest.Run(t, func(t *testing.T) bus.Bus {
		for name := range js.StreamNames(t.Context()).Name() {
			if err := js.DeleteStream(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
		return (&cluster{t: t, opts: c.opts}).connect()
	})
}

// Each node is stopped and comes back while a relay publishes and a consumer
// follows, the stream's leader among them.
func TestARollingRestartOfTheNodesLosesAndRepeatsNothing(t *testing.T) {
	c := newCluster(t)
	js := c.js()
	dir := t.TempDir()
	source, v := open(t, filepath.Join(dir, "order.db")), newView(t, open(t, filepath.Join(dir, "view.db")))
	b := c.connect()
	view := &bus.Consumer{Name: "view", DB: v.db, Bus: b, Filter: order, Handle: v.add, Logger: quiet}
	start(t, outbox.NewRelay("order", source, b, &outbox.Options{Logger: quiet}).Run)
	start(t, view.Run)
	total := 0
	for i := range c.nodes {
		for range 10 {
			addMany(t, source, 100)
			total += 100
		}
		c.stop(i)
		addMany(t, source, 100)
		total += 100
		c.start(i)
		awaitCurrent(t, js, func() { add(t, source, 1); total++ })
	}
	epoch := bustest.Follow(t, b, order, bus.Place{}).Next().Place.Epoch
	v.want(view, epoch, eventPosition(total))
	bustest.Follow(t, c.connect(), order, bus.Place{}).Want(1, eventPosition(total))
	st, err := js.Stream(t.Context(), "OUT_order")
	if err != nil {
		t.Fatal(err)
	}
	if info := st.CachedInfo(); info.State.Msgs != uint64(total) || len(info.Cluster.Replicas) != 2 {
		t.Errorf("the stream has %d messages of %d, and %d copies besides its leader's", info.State.Msgs, total, len(info.Cluster.Replicas))
	}
}

// awaitCurrent waits until every node has a copy of the stream that is up to
// date: with one behind, the next to stop would leave no majority. There is
// traffic meanwhile: a copy that gets nothing is behind until it does.
func awaitCurrent(t *testing.T, js jetstream.JetStream, traffic func()) {
	t.Helper()
	for deadline := time.Now().Add(2 * bustest.Patience); ; time.Sleep(50 * time.Millisecond) {
		traffic()
		st, err := js.Stream(t.Context(), "OUT_order")
		if err == nil && st.CachedInfo().Cluster != nil && st.CachedInfo().Cluster.Leader != "" {
			current := 0
			for _, r := range st.CachedInfo().Cluster.Replicas {
				if r.Current && !r.Offline {
					current++
				}
			}
			if current == 2 {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the copies of the stream do not catch up: %v", err)
		}
	}
}

// A service is told of the nodes and of the copies by its environment.
func TestAServiceKeepsItsStreamOnAsManyNodesAsItsEnvironmentSays(t *testing.T) {
	c := newCluster(t)
	js := c.js()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- service.Run(ctx, []service.Named{{Name: "order", New: func(ctx context.Context, h *service.Host) error {
			db, err := h.DB(ctx, nil)
			if err == nil {
				err = outbox.Setup(ctx, db)
			}
			if err == nil {
				h.Run("relay", outbox.NewRelay("order", db, h.Bus(), nil).Run)
			}
			return err
		}}}, &service.Options{
			Environ: []string{"NATS_URL=" + c.url(), "NATS_REPLICAS=3", "CLEAVE_DATA=" + t.TempDir()}, Logger: quiet,
		})
	}()
	awaitCurrent(t, js, func() {})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
