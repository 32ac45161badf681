package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cleave-go/cleave/discovery"
	"github.com/cleave-go/cleave/platform/registry"
)

// admins answers as the admin listeners of services do, and notes what it was
// asked.
type admins struct {
	answers map[string]string // by method and path with query
	asked   []string
}

func (a *admins) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer a-token" {
		http.Error(w, "no token", http.StatusUnauthorized)
		return
	}
	what := r.Method + " " + r.URL.RequestURI()
	a.asked = append(a.asked, what)
	answer, ok := a.answers[what]
	if !ok {
		http.NotFound(w, r)
		return
	}
	if refusal, found := strings.CutPrefix(answer, "!"); found {
		http.Error(w, refusal, http.StatusConflict)
		return
	}
	fmt.Fprintln(w, answer)
}

// operatorOf returns an operator that finds the services order and kitchen in a
// registry.
func operatorOf(t *testing.T, a *admins) *operator {
	t.Helper()
	srv := httptest.NewServer(a)
	t.Cleanup(srv.Close)
	ctx, cancel := context.WithCancel(context.Background())
	at, ended := make(chan registry.Faces, 1), make(chan error, 3)
	go func() {
		ended <- registry.Run(ctx, registry.Options{Listen: "127.0.0.1:0", DNS: "127.0.0.1:0", Token: "a-token", DisableRouter: true,
			Logger: slog.New(slog.DiscardHandler), Ready: func(f registry.Faces) { at <- f }})
	}()
	faces := <-at
	c, err := discovery.NewClient(faces.URL, "a-token", &discovery.ClientOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"order", "kitchen"} {
		r, err := c.NewRegistration(discovery.Instance{Service: service, ID: "1", Addr: "127.0.0.1:1", Status: discovery.Up,
			Meta: map[string]string{"admin": srv.Listener.Addr().String()}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() { ended <- r.Run(ctx) }()
		<-r.Registered()
	}
	t.Cleanup(func() {
		cancel()
		for range 3 {
			if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
	o, err := newOperator(t.Context(), []string{"CLEAVE_REGISTRY=" + faces.URL, "CLEAVE_TOKEN=a-token"})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOperatorsAskTheServicesThemselves(t *testing.T) {
	const saga = `[{"id":"0190","saga":"create-order","key":"o1","state":"running","step":"ticket","attempts":12,"stuck":true,"error":"kitchen is closed"}]`
	a := &admins{answers: map[string]string{
		"GET /ops/order/events/head":                                           `{"head":12,"epoch":"e"}`,
		"GET /ops/order/events/?after=10":                                      `{"position":11,"stream":"order/1","version":1,"type":"order.placed","data":{"total":5}}` + "\n" + `{"position":12,"stream":"order/1","version":2,"type":"order.approved","data":{}}`,
		"GET /ops/order/events/?after=10&limit=1":                              `{"position":11,"stream":"order/1","version":1,"type":"order.placed","data":{"total":5}}`,
		"GET /ops/order/events/?stream=order%2F1":                              `{"position":11,"stream":"order/1","version":1,"type":"order.placed","data":{}}`,
		"GET /ops/order/events/?after=0":                                       `{"position":12,"stream":"order/1","version":1,"type":"order.placed","data":{}}`,
		"POST /ops/order/events/epoch":                                         "!the bus is not ahead of the event table",
		"POST /ops/order/events/epoch?after=7":                                 `{"epoch":"e2","after":7}`,
		"GET /ops/kitchen/projection/":                                         `[{"projection":"menus","version":2,"live":true,"source":"restaurant","done":5,"head":10,"rate":2,"etaSeconds":2.5,"parked":1}]`,
		"GET /ops/kitchen/projection/parked":                                   `[{"projection":"menus","source":"restaurant","stream":"restaurant/r1","position":4,"kept":2,"tries":8,"error":"no such menu"}]`,
		"GET /ops/kitchen/projection/parked?name=menus":                        `[{"stream":"restaurant/r1"},{"stream":"restaurant/r2"}]`,
		"POST /ops/kitchen/projection/retry?name=menus&stream=restaurant%2Fr1": `{}`,
		"POST /ops/kitchen/projection/retry?name=menus&stream=restaurant%2Fr2": "!position 4: no such menu",
		"POST /ops/kitchen/projection/rebuild?name=menus":                      `{"done":3,"head":10}` + "\n" + `{"done":10,"head":10}`,
		"POST /ops/kitchen/projection/rebuild?name=slow":                       `{"done":3,"head":10}`,
		"GET /ops/order/saga/?which=stuck":                                     saga,
		"GET /ops/order/saga/show?id=0190":                                     `{"id":"0190","saga":"create-order","data":{"order":"o1"}}`,
		"POST /ops/order/saga/resume?id=0190&reason=":                          `{}`,
		"POST /ops/order/saga/undo?id=0190&reason=closed":                      "!it has come to its point of no return",
	}}
	o := operatorOf(t, a)
	events := func(n, after int) func(*env, string, []string) error {
		return func(e *env, what string, args []string) error {
			return (&eventsFlags{n: n, after: after}).act(t.Context(), e, o, what, args)
		}
	}
	views := func(all bool) func(*env, string, []string) error {
		return func(e *env, what string, args []string) error {
			return (&projectionFlags{all: all}).act(t.Context(), e, o, what, args)
		}
	}
	sagas := func(f sagaFlags) func(*env, string, []string) error {
		return func(e *env, what string, args []string) error { return f.act(t.Context(), e, o, what, args) }
	}
	tests := []struct {
		name string
		act  func(*env, string, []string) error
		args string
		json bool
		want string // in the output
		err  string
	}{
		{"the last events", events(2, -1), "tail order", false, "order/1 2  order.approved", ""},
		{"an event by its position", events(0, -1), "show order 11", true, `"total":5`, ""},
		{"a stream", events(0, -1), "show order order/1", false, "order.placed", ""},
		{"neither", events(0, -1), "show order x", false, "", "position or a stream"},
		{"the whole history", events(0, -1), "replay order", false, `"position":12`, ""},
		{"no reason for an epoch", events(0, -1), "epoch order", false, "", "not ahead"},
		{"a new epoch", events(0, 7), "epoch order", false, "epoch e2 behind position 7", ""},
		{"a service that is not up", events(0, -1), "tail x", false, "", "no instance of x"},
		{"projections of all services", views(false), "status", false, "kitchen  menus       2        true  restaurant  5     10    2           3s    1", ""},
		{"as lines of JSON", views(false), "status kitchen", true, `{"service":"kitchen","value":{"projection":"menus"`, ""},
		{"a service without projections", views(false), "status order", false, "", "no projection"},
		{"parked streams", views(false), "parked", false, "no such menu", ""},
		{"a rebuild", views(false), "rebuild kitchen menus", false, "menus is built: 10 positions", ""},
		{"its progress", views(false), "rebuild kitchen menus", true, `"done":3`, ""},
		{"a rebuild that is cut off", views(false), "rebuild kitchen slow", false, "", "is built on"},
		{"a retry", views(false), "retry kitchen menus restaurant/r1", false, "1 streams go on", ""},
		{"of all", views(true), "retry kitchen menus", false, "", "no such menu"},
		{"of nothing", views(false), "retry kitchen menus", false, "", "--all"},
		{"stuck sagas", sagas(sagaFlags{stuck: true}), "list", false, "kitchen is closed", ""},
		{"a saga", sagas(sagaFlags{}), "show order 0190", false, `"order": "o1"`, ""},
		{"resumed", sagas(sagaFlags{}), "resume order 0190", true, `"ok":true`, ""},
		{"not undone", sagas(sagaFlags{reason: "closed"}), "undo order 0190", false, "", "point of no return"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			args := strings.Fields(tt.args)
			err := tt.act(&env{out: &out, err: &errs, json: tt.json}, args[0], args[1:])
			if fmt.Sprint(err) != "<nil>" && tt.err == "" || tt.err != "" && !strings.Contains(fmt.Sprint(err), tt.err) {
				t.Errorf("got error %v, want %q", err, tt.err)
			}
			if !strings.Contains(out.String(), tt.want) {
				t.Errorf("got\n%s\nwant it to hold %q", out.String(), tt.want)
			}
			if errs.Len() > 0 {
				t.Errorf("without a terminal there is no bar: %q", errs.String())
			}
		})
	}
	if _, err := newOperator(t.Context(), nil); err == nil {
		t.Error("a system without a registry was found")
	}
}

func TestVerbsAreChecked(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"events", "needs to know what to do"},
		{"events sing order", `no "sing"`},
		{"projection rebuild order", "needs 2 arguments"},
		{"saga undo order", "needs 2 arguments"},
	} {
		var out, errs bytes.Buffer
		if code := run(t.Context(), strings.Fields(tt.args), &out, &errs); code != exitUsage || !strings.Contains(errs.String(), tt.want) {
			t.Errorf("%s: exit code %d, %s; want %d and %q", tt.args, code, errs.String(), exitUsage, tt.want)
		}
	}
}
