package service_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/internal/echoapi"
	"github.com/cleave-go/cleave/service"
)

var quiet = slog.New(slog.DiscardHandler)

// running is a process under test.
type running struct {
	service.Addresses
	cancel context.CancelFunc
	ended  chan error
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	if err := r.wait(t); err != nil {
		t.Errorf("stopped with %v", err)
	}
}

func (r *running) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("did not end")
		return nil
	}
}

func start(t *testing.T, environ []string, services ...service.Named) *running {
	t.Helper()
	return startWith(t, service.Options{Environ: environ, Linger: 50 * time.Millisecond}, services...)
}

func startWith(t *testing.T, o service.Options, services ...service.Named) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	r := &running{cancel: cancel, ended: make(chan error, 1)}
	started := make(chan service.Addresses, 1)
	o.Started = func(a service.Addresses) { started <- a }
	if o.Logger == nil {
		o.Logger = quiet
	}
	go func() { r.ended <- service.Run(ctx, services, &o) }()
	select {
	case r.Addresses = <-started:
	case err := <-r.ended:
		t.Fatalf("did not start: %v", err)
	case <-time.After(20 * time.Second):
		t.Fatal("not ready")
	}
	return r
}

// runs returns the error of services that do not get ready.
func runs(t *testing.T, environ []string, services ...service.Named) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return service.Run(ctx, services, &service.Options{Environ: environ, Logger: quiet, Linger: time.Millisecond})
}

func page(pattern string, f http.HandlerFunc) service.Service {
	return func(_ context.Context, h *service.Host) error {
		h.Handle(pattern, f)
		return nil
	}
}

func empty(context.Context, *service.Host) error { return nil }

type echo struct {
	echoapi.UnimplementedEchoServiceHandler
}

func (echo) Echo(_ context.Context, r *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	return &echoapi.EchoResponse{Text: r.Text}, nil
}

func newEcho(_ context.Context, h *service.Host) error {
	echoapi.RegisterEchoServiceHandler(h.Server(), echo{})
	return nil
}

func request(t *testing.T, method, url string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

func TestMistakesAreSaidWithTheServicesName(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		environ  []string
		services []service.Named
		want     string
	}{
		"a constructor fails":  {services: []service.Named{{Name: "order", New: func(context.Context, *service.Host) error { return boom }}}, want: "order: boom"},
		"a constructor panics": {services: []service.Named{{Name: "order", New: func(context.Context, *service.Host) error { panic("oh") }}}, want: "order: panic: oh"},
		"a worker fails": {services: []service.Named{{Name: "order", New: func(_ context.Context, h *service.Host) error {
			h.Run("relay", func(context.Context) error { return boom })
			return nil
		}}}, want: "order relay: boom"},
		"a pattern is served twice": {services: []service.Named{{Name: "a", New: page("/x", nil)}, {Name: "b", New: page("/x", nil)}}, want: "b: pattern"},
		"a name is no label":        {services: []service.Named{{Name: "Order_1", New: empty}}, want: "use lower-case letters"},
		"a name is built in twice":  {services: []service.Named{{Name: "a", New: empty}, {Name: "a", New: empty}}, want: "a is built in twice"},
		"an address is taken":       {environ: []string{"CLEAVE_LISTEN=" + taken(t)}, services: []service.Named{{Name: "a", New: empty}}, want: "address already in use"},
		"the keys need an issuer":   {environ: []string{"CLEAVE_JWKS=http://127.0.0.1:1/"}, services: []service.Named{{Name: "a", New: empty}}, want: "CLEAVE_ISSUER"},
		"a node is no URL":          {environ: []string{"NATS_URL=nats://127.0.0.1:4222,node2:4222"}, services: []service.Named{{Name: "a", New: empty}}, want: "NATS_URL"},
		"copies are no number":      {environ: []string{"NATS_REPLICAS=all"}, services: []service.Named{{Name: "a", New: empty}}, want: "NATS_REPLICAS"},
		"a limit is no number":      {environ: []string{"CLEAVE_MAX_CALLS=many"}, services: []service.Named{{Name: "a", New: empty}}, want: "CLEAVE_MAX_CALLS"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := runs(t, c.environ, c.services...); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func taken(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestServicesShareAListenerUnlessTheyHaveTheirOwn(t *testing.T) {
	t.Parallel()
	gateway := func(ctx context.Context, h *service.Host) error {
		h.Edge("")
		return page("/", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "gateway") })(ctx, h)
	}
	r := start(t, []string{"CLEAVE_LISTEN_APART=127.0.0.1:0"},
		service.Named{Name: "a", New: page("/a", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "a") })},
		service.Named{Name: "b", New: empty}, service.Named{Name: "apart", New: empty}, service.Named{Name: "gateway", New: gateway})
	defer r.stop(t)
	at := r.Services
	if at["a"] != at["b"] || at["apart"] == at["a"] || at["gateway"] == at["a"] || at["gateway"] == at["apart"] {
		t.Errorf("listeners: %v", at)
	}
	if _, body := request(t, "GET", "http://"+at["gateway"]+"/"); body != "gateway" {
		t.Errorf("the gateway said %q", body)
	}
	if status, _ := request(t, "GET", "http://"+at["b"]+"/"); status != http.StatusNotFound {
		t.Errorf("the shared listener serves the gateway's page")
	}
}

func TestLoopbackListenersRefuseForeignNamesAndOrigins(t *testing.T) {
	t.Parallel()
	r := start(t, nil, service.Named{Name: "a", New: page("/", func(http.ResponseWriter, *http.Request) {})})
	defer r.stop(t)
	for _, url := range []string{"http://" + r.Services["a"] + "/", "http://" + r.Admin + "/livez"} {
		for host, want := range map[string]int{"evil.example": 403, "127.0.0.1.evil.example": 403, "localhost": 200, "a.svc.cleave": 200, "[::1]:80": 200, "127.77.3.4": 200, "app.localhost:99": 200} {
			if status, _ := request(t, "GET", url, "Host", host); status != want {
				t.Errorf("%s with Host %s: status %d, want %d", url, host, status, want)
			}
		}
	}
	if status, _ := request(t, "POST", "http://"+r.Services["a"]+"/", "Origin", "https://evil.example"); status != 403 {
		t.Errorf("a foreign Origin: status %d", status)
	}
}

func TestAPanickingPageAnswersWithoutText(t *testing.T) {
	t.Parallel()
	r := start(t, nil, service.Named{Name: "a", New: page("/", func(http.ResponseWriter, *http.Request) { panic("secret") })})
	defer r.stop(t)
	if status, body := request(t, "GET", "http://"+r.Services["a"]+"/"); status != 500 || strings.Contains(body, "secret") {
		t.Errorf("status %d, %q", status, body)
	}
}

func TestAStaticAddressFindsAServiceThatRunsElsewhere(t *testing.T) {
	t.Parallel()
	far := start(t, nil, service.Named{Name: "far-echo", New: newEcho})
	defer far.stop(t)
	got := make(chan string, 1)
	near := start(t, []string{"CLEAVE_ADDR_FAR_ECHO=" + far.Services["far-echo"]}, service.Named{Name: "near", New: func(_ context.Context, h *service.Host) error {
		client := echoapi.NewEchoServiceClient(h.Client("far-echo"))
		lost := echoapi.NewEchoServiceClient(h.Client("nowhere"))
		h.Run("call", func(ctx context.Context) error {
			res, err := client.Echo(ctx, &echoapi.EchoRequest{Text: "hello"})
			if err != nil {
				return err
			}
			_, err = lost.Echo(ctx, &echoapi.EchoRequest{})
			got <- fmt.Sprint(res.GetText(), " ", connect.CodeOf(err))
			return nil
		})
		return nil
	}})
	defer near.stop(t)
	if text := <-got; text != "hello unavailable" {
		t.Errorf("got %q", text)
	}
}

func TestAProcessIsReadyWhenItsChecksPass(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	asked := make(chan struct{}, 100)
	own := service.Named{Name: "a", New: func(_ context.Context, h *service.Host) error {
		h.Ready("warm", func(context.Context) error {
			select {
			case <-open:
				return nil
			default:
				asked <- struct{}{}
				return errors.New("still cold")
			}
		})
		return nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started := make(chan service.Addresses, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- service.Run(ctx, []service.Named{own}, &service.Options{Environ: []string{"CLEAVE_ADMIN_LISTEN=127.0.0.1:0"}, Logger: quiet, Started: func(a service.Addresses) { started <- a }})
	}()
	<-asked
	<-asked
	select {
	case <-started:
		t.Error("ready although the check fails")
	default:
	}
	close(open)
	a := <-started
	if status, _ := request(t, "GET", "http://"+a.Admin+"/readyz"); status != 200 {
		t.Errorf("readyz: %d", status)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestStoppingFinishesCallsBeforeWorkersBeforeTheEnd(t *testing.T) {
	t.Parallel()
	var (
		mu    sync.Mutex
		order []string
	)
	note := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, s)
	}
	entered, release := make(chan struct{}), make(chan struct{})
	r := start(t, nil, service.Named{Name: "a", New: func(_ context.Context, h *service.Host) error {
		h.Handle("POST /slow", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(entered)
			<-release
			note("call")
			io.WriteString(w, "done")
		}))
		h.Run("worker", func(ctx context.Context) error {
			<-ctx.Done()
			note("worker")
			return nil
		})
		return nil
	}})
	answered := make(chan string, 1)
	go func() {
		_, body := request(t, "POST", "http://"+r.Services["a"]+"/slow")
		answered <- body
	}()
	<-entered
	r.cancel()
	for { // the listener refuses newcomers while the call goes on
		conn, err := net.Dial("tcp", r.Services["a"])
		if err != nil {
			break
		}
		conn.Close()
		time.Sleep(5 * time.Millisecond) // real sockets
	}
	if status, body := request(t, "GET", "http://"+r.Admin+"/readyz"); status != 503 || !strings.Contains(body, "stopping") {
		t.Errorf("readyz while stopping: %d %s", status, body)
	}
	close(release)
	if body := <-answered; body != "done" {
		t.Errorf("the call under way got %q", body)
	}
	if err := r.wait(t); err != nil {
		t.Error(err)
	}
	if fmt.Sprint(order) != "[call worker]" {
		t.Errorf("order: %v", order)
	}
}

// waits is an echo service that answers when it is released.
type waits struct {
	echoapi.UnimplementedEchoServiceHandler
	entered, release chan struct{}
}

func (w waits) Echo(context.Context, *echoapi.EchoRequest) (*echoapi.EchoResponse, error) {
	w.entered <- struct{}{}
	<-w.release
	return &echoapi.EchoResponse{}, nil
}

func TestAServiceTakesNoMoreCallsThanItIsTold(t *testing.T) {
	t.Parallel()
	handler := waits{entered: make(chan struct{}), release: make(chan struct{})}
	r := start(t, []string{"CLEAVE_MAX_CALLS=1"}, service.Named{Name: "a", New: func(_ context.Context, h *service.Host) error {
		echoapi.RegisterEchoServiceHandler(h.Server(), handler)
		return nil
	}})
	defer r.stop(t)
	call := func() int {
		res, err := http.Post("http://"+r.Services["a"]+"/cleave.rpi.echo.v1.EchoService/Echo", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Error(err)
			return 0
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	first := make(chan int, 1)
	go func() { first <- call() }()
	<-handler.entered
	if status := call(); status != http.StatusTooManyRequests {
		t.Errorf("a second call beside the only one: status %d", status)
	}
	close(handler.release)
	if status := <-first; status != 200 {
		t.Errorf("the call that was let in: status %d", status)
	}
}
