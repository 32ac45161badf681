package supervisor

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"time"
)

// prober watches one process for readiness.
type prober struct {
	socket *net.UnixConn // where the process may say READY=1
	name   string
	cancel context.CancelFunc
}

// listenNotify opens the socket before the process starts, so that nothing it
// says is missed.
func listenNotify(name string) (*prober, error) {
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	return &prober{socket: conn, name: name}, nil
}

// notified calls say for each change of readiness that the process tells. It
// returns when the socket is closed.
func (p *prober) notified(say func(ready bool, why string)) {
	buf := make([]byte, 4096)
	for {
		n, err := p.socket.Read(buf)
		if err != nil {
			return
		}
		status := ""
		for line := range strings.SplitSeq(string(buf[:n]), "\n") {
			if s, ok := strings.CutPrefix(line, "STATUS="); ok {
				status = s
			}
		}
		for line := range strings.SplitSeq(string(buf[:n]), "\n") {
			switch line {
			case "READY=1":
				say(true, status)
			case "READY=0":
				say(false, status)
			}
		}
	}
}

// quiet ends the looking. The process can still say what it likes: that it
// stops, for one.
func (p *prober) quiet() {
	if p != nil && p.cancel != nil {
		p.cancel()
	}
}

// stop ends the watch.
func (p *prober) stop() {
	if p == nil {
		return
	}
	p.quiet()
	p.socket.Close()
	_ = os.Remove(p.name)
}

// dial reports readiness of an address that says nothing itself: at once when it
// accepts connections, asking at first every 5 ms; then it looks every two
// seconds, and three refusals in a row are a loss.
func dial(ctx context.Context, address string, ready bool, say func(ready bool, why string)) {
	pause, refused := 5*time.Millisecond, 0
	for {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", address)
		if err == nil {
			conn.Close()
			refused = 0
		} else {
			refused++
		}
		switch {
		case err == nil && !ready:
			ready = true
			say(true, "")
		case ready && refused >= 3:
			ready, pause = false, 100*time.Millisecond
			say(false, "does not accept connections on "+address)
		}
		if ready {
			pause = 2 * time.Second
		} else {
			pause = min(2*pause, 250*time.Millisecond)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
