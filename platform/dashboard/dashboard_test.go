package dashboard_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/discovery/registryapi"
	"github.com/cleave-go/cleave/platform/control"
	"github.com/cleave-go/cleave/platform/control/controlapi"
	"github.com/cleave-go/cleave/platform/dashboard"
)

type fakeSystem struct {
	controlapi.UnimplementedControlServiceHandler
	fail bool
}

func (f *fakeSystem) Status(context.Context, *controlapi.StatusRequest) (*controlapi.System, error) {
	if f.fail {
		return nil, connect.NewError(connect.CodeUnavailable, "gone")
	}
	program := func(name string, services ...string) *controlapi.Program {
		return &controlapi.Program{
			Name: name, Kind: "service", Services: services, Replicas: 1,
			Instances: []*controlapi.Instance{{Id: name + "-1", Phase: "ready", Address: "127.0.0.1:1"}},
		}
	}
	broken := program("kitchen", "kitchen")
	broken.Problem = "<script>alert(1)</script>"
	return &controlapi.System{Name: "toy", Ready: true, Programs: []*controlapi.Program{
		program("web", "web"), program("rest", "order", "consumer"), broken,
		{Name: "registry", Kind: "role", Services: []string{"registry"}, Replicas: 1},
	}}, nil
}

func (f *fakeSystem) Logs(_ context.Context, req *controlapi.LogsRequest, stream controlapi.ControlServiceLogsServerStream) error {
	for _, line := range []string{"hello", "<img src=x>"} {
		if err := stream.Send(&controlapi.LogLine{Instance: "web-1", Text: line}); err != nil {
			return err
		}
	}
	return nil
}

type fakeRegistry struct{ err error }

func (f fakeRegistry) List(context.Context, *registryapi.ListRequest) (*registryapi.ListResponse, error) {
	return &registryapi.ListResponse{Watchers: []*registryapi.Watcher{
		{Name: "web/web-1", Services: []string{"order", "consumer", "kitchen", "unknown"}},
		{Name: "order,consumer/rest-1", Services: []string{"kitchen", "order"}},
		{Name: "router"},
	}}, f.err
}

func open(t *testing.T, sys *fakeSystem, reg dashboard.Lister) http.Handler {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- control.Serve(ctx, socket, sys) }()
	t.Cleanup(func() { cancel(); <-done })
	client := control.Dial(socket)
	for {
		if _, err := client.Status(t.Context(), &controlapi.StatusRequest{}); err == nil || sys.fail && connect.CodeOf(err) == connect.CodeUnavailable {
			return dashboard.New(client, reg).Handler()
		}
	}
}

func get(h http.Handler, method, host, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://"+host+path, nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestThePageShowsTheSystemAndItsTwinSaysTheSame(t *testing.T) {
	h := open(t, &fakeSystem{}, fakeRegistry{})
	page := get(h, "GET", "127.0.0.1:9000", "/").Body.String()
	for _, want := range []string{"/instances/web-1", "hello", "hosts order, consumer", "web calls rest", "web calls kitchen", "rest calls kitchen", "no instance of 1"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "rest calls rest") {
		t.Error("a call within a process is an edge")
	}
	var twin dashboard.Index
	if err := json.Unmarshal(get(h, "GET", "localhost:9000", "/index.json").Body.Bytes(), &twin); err != nil {
		t.Fatal(err)
	}
	var edges []string
	for _, e := range twin.Map.Edges {
		edges = append(edges, e.From+" "+e.To)
	}
	if want := []string{"web kitchen", "web rest", "rest kitchen"}; !slices.Equal(edges, want) || len(twin.Services) != 3 || len(twin.Roles) != 1 {
		t.Errorf("got %v and %+v", edges, twin)
	}
	var one dashboard.Instance
	if err := json.Unmarshal(get(h, "GET", "localhost:9000", "/instances/web-1.json").Body.Bytes(), &one); err != nil || one.ID != "web-1" || len(one.Log) != 2 {
		t.Errorf("got %+v, %v", one, err)
	}
}

func TestWhatProgramsSayIsShownAsText(t *testing.T) {
	h := open(t, &fakeSystem{}, fakeRegistry{})
	for _, path := range []string{"/", "/instances/web-1"} {
		w := get(h, "GET", "127.0.0.1:9000", path)
		if page := w.Body.String(); strings.Contains(page, "<script") || strings.Contains(page, "<img") {
			t.Errorf("%s: markup from outside reached the page", path)
		}
		if policy := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'; style-src 'self';") {
			t.Errorf("%s: policy %q", path, policy)
		}
	}
}

func TestOnlyThisMachineMayRead(t *testing.T) {
	h := open(t, &fakeSystem{}, nil)
	for _, c := range []struct {
		method, host, origin string
		code                 int
	}{
		{"GET", "127.0.0.1:9000", "", 200},
		{"GET", "localhost:9000", "http://localhost:9000", 200},
		{"GET", "[::1]:9000", "", 200},
		{"GET", "evil.example:9000", "", 403},
		{"GET", "localhost.evil.example", "", 403},
		{"GET", "127.0.0.1:9000", "http://evil.example", 403},
		{"POST", "127.0.0.1:9000", "", 405},
	} {
		r := httptest.NewRequest(c.method, "http://"+c.host+"/", nil)
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.code {
			t.Errorf("%s %s from %q: got %d, want %d", c.method, c.host, c.origin, w.Code, c.code)
		}
	}
}

func TestWhatCannotBeShownSaysSo(t *testing.T) {
	down := open(t, &fakeSystem{fail: true}, nil)
	for path, code := range map[string]int{"/": 503, "/index.json": 503, "/nothing": 404} {
		if got := get(down, "GET", "127.0.0.1", path); got.Code != code {
			t.Errorf("%s: got %d, want %d", path, got.Code, code)
		}
	}
	up := open(t, &fakeSystem{}, fakeRegistry{err: errors.New("gone")})
	if got := get(up, "GET", "127.0.0.1", "/instances/nobody"); got.Code != 404 || !strings.Contains(got.Body.String(), "no such instance") {
		t.Errorf("got %d", got.Code)
	}
	if got := get(up, "GET", "127.0.0.1", "/"); got.Code != 200 || !strings.Contains(got.Body.String(), "Nobody follows") {
		t.Errorf("without the registry: got %d", got.Code)
	}
}
