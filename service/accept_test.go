package service_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cleave-go/cleave/service"
)

func TestAListenerThatStopsTakesEveryoneWhoHasConnected(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dial := func(n int) {
		for range n {
			conn, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
		}
	}
	a, finish := service.Acceptor(ln, 20*time.Millisecond)
	dial(50) // the process was too busy to accept any of them
	finish()
	for n := 0; ; n++ {
		conn, err := a.Accept()
		if errors.Is(err, net.ErrClosed) && n == 60 {
			return
		}
		if err != nil {
			t.Fatalf("after %d connections: %v", n, err)
		}
		conn.Close()
		if n == 40 {
			dial(10) // of those who do not know yet
		}
	}
}

// late is a listener whose only connection was accepted just before it was
// closed and is handed on just after.
type late struct {
	net.Listener
	closed chan struct{}
	once   sync.Once
	conns  chan net.Conn
}

func (l *late) Accept() (net.Conn, error) {
	<-l.closed
	time.Sleep(50 * time.Millisecond)
	select {
	case c := <-l.conns:
		return c, nil
	default:
		return nil, net.ErrClosed
	}
}

func (l *late) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func TestAConnectionAcceptedWhileTheListenerStopsIsAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		socket := &late{closed: make(chan struct{}), conns: make(chan net.Conn, 1)}
		socket.conns <- server
		serve, drain := service.Shared(socket, http.NotFoundHandler())
		var both sync.WaitGroup
		both.Go(func() {
			if err := serve(); err != nil {
				t.Error(err)
			}
		})
		both.Go(func() {
			if err := drain(10*time.Second, 10*time.Second); err != nil {
				t.Error(err)
			}
		})
		if _, err := io.WriteString(client, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(client)
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 404 ") {
			t.Errorf("answered %.40q, %v", answer, err)
		}
		both.Wait()
	})
}
