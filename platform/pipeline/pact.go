package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// pact is what the component stage reads of a contract.
type pact struct {
	file               string
	Consumer, Provider struct{ Name string }
	Interactions       []interaction
}

// interaction is one of a contract. What it says of messages is not read.
type interaction struct {
	Type, Description string
	Request, Response json.RawMessage
}

// call is an HTTP exchange.
type call struct {
	description string
	request     request
	status      int
}

type request struct {
	Method, Path string
	Query        json.RawMessage
	Headers      map[string]json.RawMessage
	Body         json.RawMessage
}

func readPact(file string) (pact, error) {
	p := pact{file: file}
	data, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), &p)
	}
	if err != nil {
		return p, fmt.Errorf("contract %s: %w", filepath.Base(file), err)
	}
	return p, nil
}

// calls returns the interactions that are HTTP exchanges.
func (p pact) calls() ([]call, error) {
	var list []call
	for _, i := range p.Interactions {
		if i.Request == nil || (i.Type != "" && i.Type != "Synchronous/HTTP") {
			continue
		}
		c := call{description: i.Description}
		var response struct{ Status int }
		if err := errors.Join(json.Unmarshal(i.Request, &c.request), json.Unmarshal(i.Response, &response)); err != nil {
			return nil, fmt.Errorf("contract %s: %s: %w", filepath.Base(p.file), i.Description, err)
		}
		c.status = cmp.Or(response.Status, http.StatusOK)
		list = append(list, c)
	}
	return list, nil
}

// answered sends the request of a call and tells whether the program
// answers it. Whether it keeps what the contract says in each state, the
// integration stage has shown; here the program has no state.
func (c call) answered(ctx context.Context, base string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := c.request.build(ctx, base)
	if err != nil {
		return err
	}
	req.Close = true // an idle connection would hold up the program's end
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return err
	}
	if res.StatusCode == c.status {
		return nil
	}
	var failure struct{ Code string }
	_ = json.Unmarshal(body, &failure)
	switch failure.Code {
	case "": // not an error of its own: nobody is there
		if res.StatusCode < 500 && res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusMethodNotAllowed {
			return nil
		}
	case "unimplemented", "internal", "unknown", "data_loss":
	default:
		return nil
	}
	return fmt.Errorf("%s %s: %s %s", req.Method, c.request.Path, res.Status, strings.TrimSpace(string(body[:min(len(body), 300)])))
}

func (r *request) build(ctx context.Context, base string) (*http.Request, error) {
	var content struct {
		Content     json.RawMessage
		ContentType string
		Encoded     any
	}
	body := []byte(r.Body)
	if json.Unmarshal(r.Body, &content) == nil && content.Content != nil { // version 4
		body = content.Content
		var text string
		if json.Unmarshal(body, &text) == nil && !strings.Contains(content.ContentType, "json") {
			body = []byte(text)
		}
	}
	target := base + r.Path
	if query := r.query(); query != "" {
		target += "?" + query
	}
	req, err := http.NewRequestWithContext(ctx, cmp.Or(r.Method, http.MethodGet), target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if content.ContentType != "" {
		req.Header.Set("Content-Type", content.ContentType)
	}
	for name, raw := range r.Headers {
		for _, v := range texts(raw) {
			req.Header.Add(name, v)
		}
	}
	return req, nil
}

func (r *request) query() string {
	var text string
	if json.Unmarshal(r.Query, &text) == nil {
		return text
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(r.Query, &fields) != nil {
		return ""
	}
	values := url.Values{}
	for name, raw := range fields {
		values[name] = texts(raw)
	}
	return values.Encode()
}

// texts reads one string or a list of them.
func texts(raw json.RawMessage) []string {
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		return list
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}
	}
	return nil
}
