package graphql_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect/v2"

	"github.com/cleave-go/cleave/graphql"
)

const (
	typeJSON    = "application/json"
	typeGraphQL = "application/graphql-response+json"
)

func serve(h http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", typeJSON)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestGraphQLOverHTTP(t *testing.T) {
	h := newShop().load(t, quiet).Handler(nil)
	get := func(params ...string) string {
		v := url.Values{}
		for i := 0; i < len(params); i += 2 {
			v.Set(params[i], params[i+1])
		}
		return "/graphql?" + v.Encode()
	}
	for _, c := range []struct {
		name, method, target, body string
		header                     []string
		status                     int
		want                       string
	}{
		{"a query by POST", "POST", "/graphql", `{"query":"{order(id:1){id}}"}`, nil, 200, `{"data":{"order":{"id":"1"}}}`},
		{"a query by GET", "GET", get("query", "query($i:ID!){order(id:$i){id}}", "variables", `{"i":"2"}`), "", nil, 200, `{"data":{"order":{"id":"2"}}}`},
		{"a mutation by GET", "GET", get("query", "mutation{cancelOrder(id:1){id}}"), "", nil, 405, "a mutation needs POST"},
		{"another method", "PUT", "/graphql", `{}`, nil, 405, "only GET and POST"},
		{"a form", "POST", "/graphql", `query={a}`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "must be application/json"},
		{"text, as a page of another origin could send", "POST", "/graphql", `{"query":"{__typename}"}`, []string{"Content-Type", "text/plain"}, 415, "must be application/json"},
		{"no JSON", "POST", "/graphql", `{"query":`, nil, 400, "not a JSON object: unexpected end"},
		{"a line break within a string", "POST", "/graphql", "{\"query\":\"{\n}\"}", nil, 400, "not a JSON object: invalid character"},
		{"no query", "POST", "/graphql", `{"extensions":{}}`, nil, 400, "is missing"},
		{"a batch", "POST", "/graphql", `[{"query":"{__typename}"}]`, nil, 400, "batches of requests are not served"},
		{"a query that is a number", "POST", "/graphql", `{"query":1}`, nil, 400, `"field":"query"`},
		{"variables that are a list", "POST", "/graphql", `{"query":"{__typename}","variables":[]}`, nil, 400, `"field":"variables"`},
		{"null variables", "POST", "/graphql", `{"query":"{__typename}","variables":null,"operationName":null,"extensions":null}`, nil, 200, `{"data":{"__typename":"Query"}}`},
		{"a GET without a query", "GET", "/graphql", "", nil, 400, `"field":"query"`},
		{"a body too large", "POST", "/graphql", `{"query":"` + strings.Repeat(" ", 1<<20) + `"}`, nil, 413, `"code":"PAYLOAD_TOO_LARGE"`},
		{"a client that takes images only", "POST", "/graphql", `{"query":"{__typename}"}`, []string{"Accept", "image/png"}, 406, "only " + typeGraphQL},
		{"a syntax error for an old client", "POST", "/graphql", `{"query":"{"}`, []string{"Accept", typeJSON}, 200, `"code":"BAD_USER_INPUT"`},
		{"a syntax error for a new client", "POST", "/graphql", `{"query":"{"}`, []string{"Accept", typeGraphQL}, 400, `"code":"BAD_USER_INPUT"`},
		{"a bad variable for a new client", "POST", "/graphql", `{"query":"query($n:Int!){echo(in:{i:$n})}","variables":{"n":"x"}}`, []string{"Accept", typeGraphQL}, 400, `"field":"n"`},
		{"a partial answer for a new client", "POST", "/graphql", `{"query":"{order(id:\"not-mine\"){id}}"}`, []string{"Accept", typeGraphQL}, 200, `"data":{"order":null}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := serve(h, c.method, c.target, c.body, c.header...)
			if w.Code != c.status {
				t.Errorf("status %d, want %d", w.Code, c.status)
			}
			contains(t, w.Body.String(), c.want)
			media := typeJSON
			if strings.HasSuffix(c.name, "new client") {
				media = typeGraphQL
			}
			if got := w.Header().Get("Content-Type"); got != media+"; charset=utf-8" {
				t.Errorf("Content-Type %q", got)
			}
		})
	}
}

func TestDoneAddsToHeaderAndExtensions(t *testing.T) {
	h := newShop().load(t, quiet).Handler(&graphql.HandlerOptions{Done: func(_ context.Context, h http.Header, r *graphql.Response) {
		h.Set("X-Calls", "yes")
		r.Extensions = map[string]any{"calls": r.Stats.Calls}
	}})
	w := serve(h, "POST", "/", `{"query":"query Named {order(id:1){id}}"}`)
	contains(t, w.Body.String(), `"extensions":{"calls":1}`)
	if w.Header().Get("X-Calls") != "yes" {
		t.Error("the header is missing")
	}
}

func TestARESTViewIsAQueryUnderAPath(t *testing.T) {
	s := newShop()
	schema := s.load(t, quiet)
	mux := http.NewServeMux()
	for pattern, doc := range map[string]string{
		"GET /orders/{id}":         `query($id: ID!) { order(id: $id) { id status ticket { status } } }`,
		"GET /consumers/{of}/past": `query($of: ID!, $first: Int) { orders(consumerId: $of, first: $first) { nodes { id } } }`,
	} {
		h, err := schema.REST(pattern, doc, nil)
		if err != nil {
			t.Fatal(err)
		}
		mux.Handle(pattern, h)
	}
	w := serve(mux, "GET", "/orders/o1", "")
	want(t, w.Body.String(), `{"id":"o1","status":"APPROVED","ticket":{"status":"OPEN"}}`)
	w = serve(mux, "GET", "/consumers/c/past?first=7", "")
	contains(t, w.Body.String(), `{"nodes":[{"id":"o0"}`)
	if s.listed[0].First != 7 {
		t.Errorf("first = %d, want 7", s.listed[0].First)
	}
	w = serve(mux, "GET", "/consumers/c/past?first=many", "")
	if w.Code != 400 || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("status %d, type %s", w.Code, w.Header().Get("Content-Type"))
	}
	contains(t, w.Body.String(), `"code":"BAD_USER_INPUT"`, `"field":"first"`, `"status":400`)
	w = serve(mux, "GET", "/orders/not-mine", "")
	if w.Code != 404 {
		t.Errorf("status %d, want 404", w.Code)
	}
	contains(t, w.Body.String(), `"code":"NOT_FOUND"`)
	s.fail["BatchGetTickets"] = connect.NewError(connect.CodeUnavailable, "")
	w = serve(mux, "GET", "/orders/o1", "")
	if w.Code != 200 {
		t.Errorf("status %d, want 200 for a partial answer", w.Code)
	}
	contains(t, w.Body.String(), `{"id":"o1","status":"APPROVED","ticket":null,"_missing":[{"message":"not available at the moment","path":["ticket"],"extensions":{"code":"UNAVAILABLE","service":"kitchen","retryable":true`)
	for pattern, doc := range map[string]string{
		"POST /x": `{order(id:1){id}}`,
		"GET /a":  `mutation{cancelOrder(id:1){id}}`,
		"GET /b":  `{a:order(id:1){id} b:order(id:2){id}}`,
		"GET /c":  `{nope}`,
	} {
		if _, err := schema.REST(pattern, doc, nil); err == nil {
			t.Errorf("%s %s was accepted", pattern, doc)
		}
	}
}

// A server that answers before it has read the body closes the connection on a
// client that is still writing, which then sees a broken pipe and no answer.
func TestABodyThatIsTooLargeIsReadBeforeItIsRefused(t *testing.T) {
	server := httptest.NewServer(newShop().load(t, quiet).Handler(nil))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const size = 10 << 20
	fmt.Fprintf(conn, "POST /graphql HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", conn.RemoteAddr(), typeJSON, size)
	body := bytes.Repeat([]byte("x"), size)
	if _, err := conn.Write(body[:size/2]); err != nil {
		t.Fatal(err)
	}
	answer := bufio.NewReader(conn)
	conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := answer.Peek(1); err == nil {
		t.Fatal("answered in the middle of the body")
	}
	conn.SetReadDeadline(time.Time{})
	if _, err := conn.Write(body[size/2:]); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("got status %d", res.StatusCode)
	}
}
