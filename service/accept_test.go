package service_test

import (
	"errors"
	"net"
	"testing"
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
