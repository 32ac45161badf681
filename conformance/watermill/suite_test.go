package watermill_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"
	_ "modernc.org/sqlite"

	"github.com/cleave-go/cleave/bus/natsbus"
	"github.com/cleave-go/cleave/outbox"
	"github.com/cleave-go/cleave/platform/messaging"
	"github.com/cleave-go/cleave/sqldb"
)

// TestMain makes the test binary a broker when it is asked to.
func TestMain(m *testing.M) {
	dir := os.Getenv("BROKER_TEST_DIR")
	if dir == "" {
		os.Exit(m.Run())
	}
	err := messaging.Run(context.Background(), messaging.Options{
		Dir: dir, Listen: os.Getenv("BROKER_TEST_LISTEN"), Token: "t", Ready: func(u string) { fmt.Println(u) },
	})
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// startBroker runs a broker in a process of its own, and again whenever it has
// ended. It returns its URL and the file with the number of its process.
func startBroker(t *testing.T) (url, pidFile string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := l.Addr().String()
	l.Close()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	pidFile = filepath.Join(dir, "pid")
	ctx, cancel := context.WithCancel(context.Background())
	urls := make(chan string, 1)
	var wg sync.WaitGroup
	t.Cleanup(func() { cancel(); wg.Wait() })
	wg.Go(func() {
		for ctx.Err() == nil {
			cmd := exec.CommandContext(ctx, exe)
			cmd.Env = append(os.Environ(), "BROKER_TEST_DIR="+dir, "BROKER_TEST_LISTEN="+listen)
			out, err := cmd.StdoutPipe()
			if err == nil {
				err = cmd.Start()
			}
			if err != nil {
				t.Error(err)
				return
			}
			if err := os.WriteFile(pidFile, []byte(strconv.Itoa(cmd.Process.Pid)), 0o600); err != nil {
				t.Error(err)
			}
			if line, _, err := bufio.NewReader(out).ReadLine(); err == nil {
				select {
				case urls <- string(line):
				default:
				}
			}
			cmd.Wait()
		}
	})
	return <-urls, pidFile
}

func open(t *testing.T, path string) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), "sqlite:"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := outbox.Setup(t.Context(), db); err != nil {
		t.Fatal(err)
	}
	return db
}

// TestPubSub is watermill's suite with all that it can ask for, killing the
// broker with SIGKILL as the restart of its service.
func TestPubSub(t *testing.T) {
	url, pidFile := startBroker(t)
	dir := t.TempDir()
	table := open(t, filepath.Join(dir, "table.db"))
	b, err := natsbus.Connect(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- outbox.NewRelay(service, table, b, nil).Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	var mu sync.Mutex
	groups := map[string]*sqldb.DB{}
	inGroup := func(_ *testing.T, name string) (message.Publisher, message.Subscriber) {
		mu.Lock()
		defer mu.Unlock()
		if groups[name] == nil {
			groups[name] = open(t, filepath.Join(dir, name+".db"))
		}
		return publisher{table}, newSubscriber(b, groups[name])
	}
	alone := func(*testing.T) (message.Publisher, message.Subscriber) {
		return publisher{table}, newSubscriber(b, nil)
	}
	started := time.Now()
	t.Run("suite", func(t *testing.T) {
		tests.TestPubSub(t, tests.Features{
			ConsumerGroups:                   true,
			GuaranteedOrder:                  true,
			Persistent:                       true,
			NewSubscriberReceivesOldMessages: true,
			RestartServiceCommand:            []string{"sh", "-c", "kill -9 $(cat " + pidFile + ")"},
		}, alone, inGroup)
	})
	t.Logf("the suite took %v", time.Since(started))
}
