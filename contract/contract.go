package contract

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"runtime"
	"strings"
	"sync"

	"connectrpc.com/connect/v2"
	"connectrpc.com/connect/v2/connecthttp"

	"github.com/cleave-go/cleave/contract/internal/pact"
)

// T is what contracts need of a *testing.T.
type T interface {
	Helper()
	Name() string
	Cleanup(func())
	Failed() bool
	Context() context.Context
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Options tune New. Nil means the defaults.
type Options struct {
	Dir string // where the Pact file lies. Default: "contracts"
}

// Contract records what one consumer's test expects of one provider. It is safe
// for concurrent use.
type Contract struct {
	URL string // of the server that answers as the provider would

	t                  T
	consumer, provider string
	test, dir          string
	http               *http.Client

	mu           sync.Mutex
	interactions []*interaction
	commands     []*CommandExpectation
	calls        responder
}

// interaction is one that is recorded, once it is complete.
type interaction struct {
	pact.Interaction
	used bool
}

// New returns the contract of consumer with provider. Its server runs until the
// test ends; then the contract is written, if all is well.
func New(t T, consumer, provider string, o *Options) *Contract {
	t.Helper()
	for _, name := range []string{consumer, provider} {
		if name == "" || strings.ContainsAny(name, `/\:*?"<>|`) {
			t.Fatalf("contract: %q cannot be the name of a service", name)
		}
	}
	c := &Contract{t: t, consumer: consumer, provider: provider, test: testName(t), dir: "contracts"}
	if o != nil {
		c.dir = cmp.Or(o.Dir, c.dir)
	}
	c.calls = responder{missed: c.missed}
	server := httptest.NewUnstartedServer(&c.calls)
	server.Config.Protocols = protocols(true)
	server.Start()
	c.URL = server.URL
	transport := &http.Transport{Protocols: protocols(false)} // gRPC needs HTTP/2
	c.http = &http.Client{Transport: transport}
	t.Cleanup(func() {
		t.Helper()
		transport.CloseIdleConnections()
		server.Close()
		c.write()
	})
	return c
}

func protocols(http1 bool) *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(http1)
	p.SetUnencryptedHTTP2(true)
	return p
}

// testName names the running test with its package, so that tests of two
// packages may record in one file.
func testName(t T) string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.File, "_test.go") {
			name, _, _ := strings.Cut(path.Base(f.Function), ".")
			return strings.TrimSuffix(name, "_test") + "." + t.Name()
		}
		if !more {
			return t.Name()
		}
	}
}

// Client returns a client of the provider that c answers for. Options choose
// the protocol and the codec.
func (c *Contract) Client(options ...connecthttp.Option) *connect.Client {
	return connect.NewClient(connecthttp.NewTransport(c.http, c.URL, options...))
}

func (c *Contract) add(in *interaction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	in.Test = c.test
	c.interactions = append(c.interactions, in)
}

func (c *Contract) use(in *interaction) {
	c.mu.Lock()
	defer c.mu.Unlock()
	in.used = true
}

func (c *Contract) write() {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	f := pact.File{Consumer: c.consumer, Provider: c.provider}
	for _, in := range c.interactions {
		if !in.used && !c.t.Failed() {
			c.t.Errorf("contract: %s was never used: the test does not exercise what it expects of %s", in.Description, c.provider)
		}
		f.Interactions = append(f.Interactions, in.Interaction)
	}
	if c.t.Failed() {
		return
	}
	if len(f.Interactions) == 0 {
		c.t.Errorf("contract: the test expects nothing of %s", c.provider)
		return
	}
	if err := pact.Merge(c.dir, &f, c.test); err != nil {
		c.t.Errorf("contract: %v", err)
	}
}

// given is what all expectations share.
type given struct {
	c  *Contract
	in *interaction
}

func (g given) state(name string, params []any) {
	g.c.t.Helper()
	s := pact.State{Name: name}
	if len(params) > 1 {
		g.c.t.Fatalf("contract: the state %q has one value with its parameters, not %d", name, len(params))
	}
	if len(params) == 1 {
		v, err := toJSON(params[0])
		if err != nil {
			g.c.t.Fatalf("contract: the parameters of the state %q: %v", name, err)
		}
		m, ok := v.(map[string]any)
		if !ok {
			g.c.t.Fatalf("contract: the parameters of the state %q are a struct or a map, not a %T", name, params[0])
		}
		s.Params = m
	}
	g.in.States = append(g.in.States, s)
}

// fatal reports a mistake in an expectation.
func (g given) fatal(what string, err error) {
	g.c.t.Helper()
	if err != nil {
		g.c.t.Fatalf("contract: %s: %s: %v", g.in.Description, what, err)
	}
}

func (in *interaction) String() string { return fmt.Sprintf("%q", in.Description) }
