package gateway_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/auth/authtest"
	"github.com/cleave-go/cleave/event"
	"github.com/cleave-go/cleave/gateway"
	"github.com/cleave-go/cleave/graphql"
	pb "github.com/cleave-go/cleave/internal/shop"
	"github.com/cleave-go/cleave/limit"
	"github.com/cleave-go/cleave/rpi"
)

const sdl = `
type Query {
  consumer(id: ID!): Consumer @rpc(service: "consumer", method: "cleave.graphqltest.shop.v1.ConsumerService/GetConsumer")
  open: String @auth(public: true)
}
type Mutation {
  registerConsumer(firstName: String!): Consumer! @rpc(service: "consumer", method: "cleave.graphqltest.shop.v1.ConsumerService/RegisterConsumer")
}
type Consumer { id: ID! firstName: String! }
`

// consumers knows who called and what was required of it.
type consumers struct {
	pb.UnimplementedConsumerServiceHandler
	calls    atomic.Int64
	required atomic.Value
}

func (c *consumers) GetConsumer(ctx context.Context, r *pb.GetConsumerRequest) (*pb.Consumer, error) {
	c.calls.Add(1)
	c.required.Store(rpi.Required(ctx).String())
	if r.Id == "panic" {
		panic("boom")
	}
	return &pb.Consumer{Id: r.Id, FirstName: "Ada"}, nil
}

func (c *consumers) RegisterConsumer(ctx context.Context, r *pb.RegisterConsumerRequest) (*pb.Consumer, error) {
	c.calls.Add(1)
	rpi.Committed(ctx, "consumer", "e1", 7)
	return &pb.Consumer{Id: "c1", FirstName: r.FirstName}, nil
}

type fixture struct {
	consumers *consumers
	issuer    *authtest.Issuer
	server    *httptest.Server
	opens     atomic.Int64
}

func start(t *testing.T, o gateway.Options) *fixture {
	t.Helper()
	f := &fixture{consumers: &consumers{}}
	server := rpi.NewServer(nil)
	pb.RegisterConsumerServiceHandler(server, f.consumers)
	client := connect.NewClient(rpi.Local(server, nil))
	schema, err := graphql.Load(sdl, &graphql.Options{
		Client: func(string) *connect.Client { return client },
		Resolvers: map[string]graphql.Resolver{"Query.open": {Resolve: func(_ context.Context, p []graphql.Parent) ([]any, error) {
			f.opens.Add(1)
			return []any{"yes"}, nil
		}}},
	})
	check(t, err)
	f.issuer, err = authtest.New("https://issuer.example", "shop")
	check(t, err)
	jwks := httptest.NewServer(f.issuer)
	t.Cleanup(jwks.Close)
	o.Verifier, err = auth.NewVerifier(&auth.Options{JWKSURL: jwks.URL, Issuer: "https://issuer.example", Audience: "shop"})
	check(t, err)
	o.Telemetry.Logger = slog.New(slog.DiscardHandler)
	o.Views = map[string]string{"GET /consumers/{id}": `query View($id: ID!) { consumer(id: $id) { id firstName } }`}
	h, err := gateway.New(schema, &o)
	check(t, err)
	f.server = httptest.NewServer(h)
	t.Cleanup(f.server.Close)
	return f
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (f *fixture) token(t *testing.T, subject string, ttl time.Duration) string {
	t.Helper()
	raw, err := f.issuer.Token(subject, ttl, "consumer")
	check(t, err)
	return "Bearer " + raw
}

// send posts a query, or gets path when it starts with a slash.
func (f *fixture) send(t *testing.T, what string, header ...string) (*http.Response, string) {
	t.Helper()
	method, path, body := "POST", "/graphql", ""
	if strings.HasPrefix(what, "/") {
		method, path = "GET", what
	} else {
		b, err := json.Marshal(map[string]string{"query": what})
		check(t, err)
		body = string(b)
	}
	r, err := http.NewRequest(method, f.server.URL+path, strings.NewReader(body))
	check(t, err)
	if method == "POST" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
		} else if header[i] == ":method" {
			r.Method = header[i+1]
		} else {
			r.Header.Add(header[i], header[i+1])
		}
	}
	resp, err := f.server.Client().Do(r)
	check(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	check(t, err)
	return resp, string(answer)
}

const ask = `{consumer(id:"1"){id}}`

func TestWhoMayCall(t *testing.T) {
	f := start(t, gateway.Options{})
	ok := f.token(t, "c1", time.Hour)
	for _, c := range []struct {
		name, query string
		header      []string
		status      int
		want        string
	}{
		{"a valid token", ask, []string{"Authorization", ok}, 200, `{"data":{"consumer":{"id":"1"}}}`},
		{"nobody, on a field that needs somebody", ask, nil, 200, `"code":"UNAUTHENTICATED"`},
		{"nobody, on a public field", `{open}`, nil, 200, `{"data":{"open":"yes"}}`},
		{"an expired token", `{open}`, []string{"Authorization", f.token(t, "c1", -time.Hour)}, 401, `"message":"the token has expired"`},
		{"a forged token", `{open}`, []string{"Authorization", ok[:len(ok)-4] + "AAAA"}, 401, `"code":"UNAUTHENTICATED"`},
		{"another scheme", `{open}`, []string{"Authorization", "Basic eDp5"}, 401, `"code":"UNAUTHENTICATED"`},
		{"two tokens", `{open}`, []string{"Authorization", ok, "Authorization", ok}, 401, "more than one"},
		{"a view with a token", "/consumers/9", []string{"Authorization", ok}, 200, `{"id":"9","firstName":"Ada"}`},
		{"a view without", "/consumers/9", nil, 401, `"code":"UNAUTHENTICATED"`},
		{"a view with a bad token", "/consumers/9", []string{"Authorization", "Bearer x.y.z"}, 401, `"title":"Unauthorized"`},
		{"a path that is not there", "/nope", nil, 404, `"code":"NOT_FOUND"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			resp, body := f.send(t, c.query, c.header...)
			if resp.StatusCode != c.status || !strings.Contains(body, c.want) {
				t.Errorf("%d %s, want %d with %s", resp.StatusCode, body, c.status, c.want)
			}
			if resp.StatusCode == 401 && !strings.HasPrefix(c.query, "/consumers") && resp.Header.Get("WWW-Authenticate") == "" {
				t.Error("401 without WWW-Authenticate")
			}
		})
	}
}

func TestPagesOfOtherOriginsAreKeptOut(t *testing.T) {
	f := start(t, gateway.Options{Origins: []string{"https://app.example"}, Hosts: []string{"shop.example"}})
	for _, c := range []struct {
		name, query string
		header      []string
		status      int
	}{
		{"a page of another origin", `{open}`, []string{"Origin", "https://evil.example"}, 403},
		{"a page of another site, as browsers say", `{open}`, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"an allowed origin", `{open}`, []string{"Origin", "https://app.example", "Sec-Fetch-Site", "cross-site"}, 200},
		{"a preflight of an allowed origin", `{open}`, []string{":method", "OPTIONS", "Origin", "https://app.example", "Access-Control-Request-Method", "POST"}, 204},
		{"a preflight of another origin", `{open}`, []string{":method", "OPTIONS", "Origin", "https://evil.example", "Access-Control-Request-Method", "POST"}, 405},
		{"a name rebound to loopback", `{open}`, []string{"Host", "evil.example"}, 421},
		{"localhost", `{open}`, []string{"Host", "localhost:8080"}, 200},
		{"the service's name", `{open}`, []string{"Host", "webbff.svc.cleave"}, 200},
		{"a name of its own", `{open}`, []string{"Host", "shop.example:443"}, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := f.opens.Load()
			resp, body := f.send(t, c.query, c.header...)
			if resp.StatusCode != c.status {
				t.Errorf("%d %s, want %d", resp.StatusCode, body, c.status)
			}
			if c.status != 200 && f.opens.Load() != before {
				t.Error("the query ran")
			}
			allowed := resp.Header.Get("Access-Control-Allow-Origin")
			if trusted := strings.Contains(strings.Join(c.header, " "), "app.example"); trusted != (allowed != "") {
				t.Errorf("Access-Control-Allow-Origin %q", allowed)
			}
		})
	}
}

func TestEachCallerHasItsOwnRate(t *testing.T) {
	f := start(t, gateway.Options{Rate: limit.Rate{Events: 1, Per: time.Hour, Burst: 3}})
	alice, bob := f.token(t, "alice", time.Hour), f.token(t, "bob", time.Hour)
	for i := range 5 {
		resp, body := f.send(t, `{open}`, "Authorization", alice)
		if i < 3 && resp.StatusCode != 200 {
			t.Fatalf("request %d: %d %s", i, resp.StatusCode, body)
		}
		if i >= 3 && (resp.StatusCode != 429 || !strings.Contains(body, `"code":"RATE_LIMITED"`) || resp.Header.Get("Retry-After") == "") {
			t.Errorf("request %d: %d %s, Retry-After %q", i, resp.StatusCode, body, resp.Header.Get("Retry-After"))
		}
	}
	if resp, _ := f.send(t, `{open}`, "Authorization", bob); resp.StatusCode != 200 {
		t.Errorf("bob pays for alice: %d", resp.StatusCode)
	}
	for range 3 {
		f.send(t, `{open}`, "Authorization", "Bearer bad")
	}
	if resp, _ := f.send(t, `{open}`, "Authorization", "Bearer bad"); resp.StatusCode != 429 {
		t.Errorf("a flood of bad tokens: %d, want 429", resp.StatusCode)
	}
	if f.opens.Load() != 4 {
		t.Errorf("%d queries ran, want 4", f.opens.Load())
	}
}

func TestConsistencyTravelsBothWays(t *testing.T) {
	f := start(t, gateway.Options{})
	me := f.token(t, "c1", time.Hour)
	resp, body := f.send(t, `mutation{registerConsumer(firstName:"Ada"){id}}`, "Authorization", me)
	token := resp.Header.Get("Cleave-Consistency")
	want := event.Token{}.With("consumer", "e1", 7)
	if got, err := event.ParseToken(token); err != nil || got.String() != want.String() {
		t.Fatalf("token %q: %v", token, err)
	}
	if !strings.Contains(body, `"extensions":{"consistency":"`+token+`"}`) {
		t.Errorf("body %s", body)
	}
	if resp, _ := f.send(t, ask, "Authorization", me, "Cleave-Consistency", token); resp.Header.Get("Cleave-Consistency") != "" {
		t.Error("a read that caused nothing answered a token")
	}
	if got := f.consumers.required.Load(); got != token {
		t.Errorf("the service was asked for %q, want %q", got, token)
	}
	if resp, body := f.send(t, ask, "Authorization", me, "Cleave-Consistency", "!!"); resp.StatusCode != 400 || !strings.Contains(body, `"field":"Cleave-Consistency"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestBadRequestsNeverBecomeServerErrors(t *testing.T) {
	f := start(t, gateway.Options{})
	me := f.token(t, "c1", time.Hour)
	client := f.server.Client()
	for _, c := range []struct {
		name, body string
		status     int
		code       string
	}{
		{"nothing", ``, 400, "BAD_USER_INPUT"},
		{"no JSON", `{`, 400, "BAD_USER_INPUT"},
		{"not GraphQL", `{"query":"{{{"}`, 200, "BAD_USER_INPUT"},
		{"an unknown field", `{"query":"{nope}"}`, 200, "BAD_USER_INPUT"},
		{"nesting without end", `{"query":"` + strings.Repeat("{a", 5000) + `"}`, 200, "BAD_USER_INPUT"},
		{"JSON nested without end", strings.Repeat("[", 100_000), 400, "BAD_USER_INPUT"},
		{"variables nested without end", `{"query":"{open}","variables":` + strings.Repeat(`{"a":`, 20_000) + `1` + strings.Repeat(`}`, 20_000) + `}`, 400, "BAD_USER_INPUT"},
		{"ten megabytes", `{"query":"{open}","x":"` + strings.Repeat("x", 10<<20) + `"}`, 413, "PAYLOAD_TOO_LARGE"},
		{"a variable of another type", `{"query":"query($i:ID!){consumer(id:$i){id}}","variables":{"i":{"$ne":1}}}`, 200, "BAD_USER_INPUT"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := http.NewRequest("POST", f.server.URL+"/graphql", strings.NewReader(c.body))
			check(t, err)
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", me)
			resp, err := client.Do(r)
			check(t, err)
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != c.status || !strings.Contains(string(body), `"code":"`+c.code+`"`) {
				t.Errorf("%d %.300s, want %d %s", resp.StatusCode, body, c.status, c.code)
			}
		})
	}
	if f.consumers.calls.Load()+f.opens.Load() != 0 {
		t.Error("a service heard of it")
	}
}

func TestRequestsHaveAnID(t *testing.T) {
	f := start(t, gateway.Options{})
	if resp, _ := f.send(t, `{open}`, "X-Request-Id", "mine-1"); resp.Header.Get("X-Request-Id") != "mine-1" {
		t.Errorf("id %q, want the client's", resp.Header.Get("X-Request-Id"))
	}
	if resp, _ := f.send(t, `{open}`, "X-Request-Id", "a b<script>"); len(resp.Header.Get("X-Request-Id")) != 26 {
		t.Errorf("id %q, want a fresh one", resp.Header.Get("X-Request-Id"))
	}
}

func TestAServiceThatPanicsIsAMissingPart(t *testing.T) {
	f := start(t, gateway.Options{})
	resp, body := f.send(t, `{consumer(id:"panic"){id} open}`, "Authorization", f.token(t, "c1", time.Hour))
	if resp.StatusCode != 200 || !strings.Contains(body, `"data":{"consumer":null,"open":"yes"}`) || strings.Contains(body, "boom") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestNewRefusesOptionsThatMakeNoSense(t *testing.T) {
	schema, err := graphql.Load(`type Query { a: Int }`, &graphql.Options{Resolvers: map[string]graphql.Resolver{
		"Query.a": {Resolve: func(context.Context, []graphql.Parent) ([]any, error) { return []any{1}, nil }}}})
	check(t, err)
	for name, o := range map[string]gateway.Options{
		"a rate of nothing":         {Rate: limit.Rate{Events: -1, Per: time.Second}},
		"an origin that is none":    {Origins: []string{"app.example"}},
		"a view that does not fit":  {Views: map[string]string{"GET /x": `{nope}`}},
		"a view on a bad pattern":   {Views: map[string]string{"GET /{": `{a}`}},
		"a view over the graph's":   {Views: map[string]string{"GET /{x}": `{a}`, "GET /{y}": `{a}`}},
		"a view under another verb": {Views: map[string]string{"POST /x": `{a}`}},
	} {
		if _, err := gateway.New(schema, &o); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
