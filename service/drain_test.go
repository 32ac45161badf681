package service_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cleave-go/cleave/service"
)

// client1 is one connection of HTTP/1.1 that is kept.
type client1 struct {
	conn net.Conn
	in   *bufio.Reader
}

func connect1(t *testing.T, addr string) *client1 {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client1{conn, bufio.NewReader(conn)}
}

// post sends a request and reports whether the answer says that the connection closes.
func (c *client1) post() (closes bool, err error) {
	if _, err := io.WriteString(c.conn, "POST /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"); err != nil {
		return false, err
	}
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return false, err
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return false, err
	}
	return res.Close, res.Body.Close()
}

var hello = service.Named{Name: "a", New: page("/hello", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })}

func TestEachConnectionIsAnsweredOnceMoreBeforeTheEnd(t *testing.T) {
	t.Parallel()
	const linger = 8 * time.Second
	r := startWith(t, service.Options{Environ: []string{}, Linger: linger}, hello)
	pauses := []time.Duration{0, 10 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond}
	told := make(chan error, len(pauses))
	begun := make(chan struct{}, len(pauses))
	for _, pause := range pauses {
		c := connect1(t, r.Services["a"])
		go func() {
			for n := 0; ; n++ {
				closes, err := c.post()
				if err != nil {
					told <- fmt.Errorf("paused for %v, request %d: %w", pause, n, err)
					return
				}
				if closes {
					told <- nil
					return
				}
				if n == 0 {
					begun <- struct{}{}
				}
				time.Sleep(pause) // real sockets
			}
		}()
	}
	for range pauses {
		<-begun
	}
	begin := time.Now()
	r.cancel()
	for range pauses {
		if err := <-told; err != nil {
			t.Error(err)
		}
	}
	if err := r.wait(t); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > linger/2 {
		t.Errorf("it went after %v, although all connections were closed long before", took)
	}
}

func TestAConnectionThatStaysIdleDoesNotHoldUpTheEndForLong(t *testing.T) {
	t.Parallel()
	const linger = 2 * time.Second
	r := startWith(t, service.Options{Environ: []string{}, Linger: linger}, hello)
	used, unused := connect1(t, r.Services["a"]), connect1(t, r.Services["a"])
	if _, err := used.post(); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	r.cancel()
	for _, c := range []*client1{used, unused} {
		if _, err := c.in.ReadByte(); err != io.EOF {
			t.Errorf("got %v, want the end of the connection", err)
		}
	}
	if took := time.Since(begin); took < linger/2-100*time.Millisecond || took > 2*linger {
		t.Errorf("idle connections were closed after %v, want half of %v or little more", took, linger)
	}
	if err := r.wait(t); err != nil {
		t.Error(err)
	}
}

func TestHTTP2ConnectionsAreToldToGoAway(t *testing.T) {
	t.Parallel()
	r := startWith(t, service.Options{Environ: []string{}, Linger: 5 * time.Second}, hello)
	c := connect1(t, r.Services["a"])
	headers := "\x82\x86\x04\x06/hello\x01\x09localhost"                                    // GET, http, the path and the authority
	frames := "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + // SETTINGS
		string([]byte{0, 0, byte(len(headers)), 1, 5, 0, 0, 0, 1}) + headers
	if _, err := io.WriteString(c.conn, frames); err != nil {
		t.Fatal(err)
	}
	answered, goaway := false, false
	var begin time.Time
	for {
		var head [9]byte
		if _, err := io.ReadFull(c.in, head[:]); err != nil {
			break
		}
		if _, err := c.in.Discard(int(binary.BigEndian.Uint32(append([]byte{0}, head[:3]...)))); err != nil {
			break
		}
		switch head[3] {
		case 0: // DATA: the connection is idle from now on
			if !answered {
				answered, begin = true, time.Now()
				r.cancel()
			}
		case 7:
			goaway = true
		}
	}
	if !answered || !goaway {
		t.Errorf("answered: %v, GOAWAY: %v", answered, goaway)
	}
	if err := r.wait(t); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("an idle connection held up the end for %v", took)
	}
}

func TestTheLogLevelCanBeChanged(t *testing.T) {
	t.Parallel()
	level := &slog.LevelVar{}
	r := startWith(t, service.Options{Environ: []string{}, Linger: time.Millisecond, LogLevel: level}, hello)
	defer r.stop(t)
	for _, step := range []struct {
		method, body string
		status       int
		says         string
	}{
		{"GET", "", 200, "info\n"},
		{"PUT", "debug\n", 200, "debug\n"},
		{"GET", "", 200, "debug\n"},
		{"PUT", "loud", 400, "the body must be debug, info, warn or error\n"},
		{"PUT", strings.Repeat("x", 100), 400, "the body must be debug, info, warn or error\n"},
		{"GET", "", 200, "debug\n"},
		{"POST", "info", 405, "Method Not Allowed\n"},
		{"PUT", "WARN", 200, "warn\n"},
	} {
		if status, says := send(t, step.method, "http://"+r.Admin+"/loglevel", step.body); status != step.status || says != step.says {
			t.Errorf("%s %q: %d %q, want %d %q", step.method, step.body, status, says, step.status, step.says)
		}
	}
}

func send(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func TestTheFlightRecorder(t *testing.T) { // not parallel: a process has one
	r := startWith(t, service.Options{Environ: []string{}, Linger: time.Millisecond}, hello)
	at := "http://" + r.Admin + "/debug/flight"
	for _, step := range []struct {
		method, query string
		status        int
	}{
		{"GET", "", 409}, {"DELETE", "", 409}, {"POST", "?age=1ms", 400}, {"POST", "?age=soon", 400},
		{"POST", "?age=2s", 204}, {"POST", "", 409}, {"GET", "", 200}, {"GET", "", 200}, {"DELETE", "", 204}, {"GET", "", 409}, {"POST", "", 204},
	} {
		status, body := send(t, step.method, at+step.query, "")
		if status != step.status || status == 200 && !strings.HasPrefix(body, "go 1.") {
			t.Errorf("%s %s: %d, %.40q, want %d", step.method, step.query, status, body, step.status)
		}
	}
	r.stop(t)
	again := startWith(t, service.Options{Environ: []string{"CLEAVE_FLIGHT=5s"}, Linger: time.Millisecond}, hello)
	defer again.stop(t)
	if status, body := send(t, "GET", "http://"+again.Admin+"/debug/flight", ""); status != 200 || !strings.HasPrefix(body, "go 1.") {
		t.Errorf("set by the environment: %d, %.40q", status, body)
	}
	if err := runs(t, []string{"CLEAVE_FLIGHT=5ms"}, hello); err == nil || !strings.Contains(err.Error(), "CLEAVE_FLIGHT") {
		t.Errorf("a wrong duration: %v", err)
	}
}
