package acceptance_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// client speaks to one graph as one person.
type client struct {
	t     testing.TB
	url   string
	token string
	seen  string // the consistency token of the last answer; sent only by after
	extra http.Header
	via   *http.Client // nil: httpClient
}

// answer is what a graph said.
type answer struct {
	Status     int
	Header     http.Header
	Data       map[string]any
	Errors     []graphError
	Extensions map[string]any
}

type graphError struct {
	Message    string
	Path       []any
	Extensions map[string]any
}

func (e graphError) code() string  { s, _ := e.Extensions["code"].(string); return s }
func (e graphError) field() string { s, _ := e.Extensions["field"].(string); return s }

type vars map[string]any

var httpClient = &http.Client{Timeout: 30 * time.Second}

// ask sends a document and fails the test only when nothing sensible comes back.
func (c client) ask(document string, v vars) answer {
	c.t.Helper()
	body, err := json.Marshal(map[string]any{"query": document, "variables": v})
	if err != nil {
		c.t.Fatal(err)
	}
	a, err := c.send(body)
	if err != nil {
		c.t.Fatal(err)
	}
	return a
}

// try is ask for tests that expect a system in trouble.
func (c client) try(document string, v vars) (answer, error) {
	body, err := json.Marshal(map[string]any{"query": document, "variables": v})
	if err != nil {
		return answer{}, err
	}
	return c.send(body)
}

func (c client) send(body []byte) (answer, error) {
	req, err := http.NewRequest(http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for name, values := range c.extra {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if c.seen != "" {
		req.Header.Set("Cleave-Consistency", c.seen)
	}
	via := c.via
	if via == nil {
		via = httpClient
	}
	res, err := via.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{Status: res.StatusCode, Header: res.Header}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("status %d: %s", res.StatusCode, text)
	}
	return a, nil
}

// after returns the client asking for answers that include what a tells of.
func (c client) after(a answer) client {
	c.seen = a.Header.Get("Cleave-Consistency")
	return c
}

// must is ask for what has to succeed; it returns the part of the data at path.
func (c client) must(document string, v vars, path string) any {
	c.t.Helper()
	return c.ask(document, v).ok(c.t, path)
}

// ok fails the test if there are errors and returns the data at path, such as
// "order.status".
func (a answer) ok(t testing.TB, path string) any {
	t.Helper()
	if len(a.Errors) > 0 || a.Status != http.StatusOK {
		t.Fatalf("status %d, errors %v", a.Status, a.Errors)
	}
	return a.at(path)
}

// at returns the data at path, nil when it is null or missing.
func (a answer) at(path string) any {
	var v any = a.Data
	for _, name := range strings.Split(path, ".") {
		fields, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = fields[name]
	}
	return v
}

// code returns the code of the only error, and fails the test if there is
// another number of them.
func (a answer) code(t testing.TB) string {
	t.Helper()
	if len(a.Errors) != 1 {
		t.Fatalf("got %d errors (%v) and data %v, want one error", len(a.Errors), a.Errors, a.Data)
	}
	return a.Errors[0].code()
}
